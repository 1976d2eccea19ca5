//! Which segments carried which message, and why.

use crate::harness::peer::scenarios;

scenarios! { "carried.py" with "ip -V":
    carried_every_layout_is_told,
    carried_each_cause_is_told_with_its_evidence,
    carried_what_is_missing_is_told,
    carried_datagrams_are_messages,
    carried_real_sockets_with_nagle_and_without,
}
