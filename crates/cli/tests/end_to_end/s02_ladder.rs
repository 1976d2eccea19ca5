//! System S2: a stream as a ladder; tshark and Python's parsers judge.

use crate::harness::peer::scenarios;

scenarios! { "s02.py" with "tshark":
    s02_each_segment_is_what_tshark_has,
    s02_pictures_are_well_formed_and_lines_fit,
    s02_it_opens_in_three_steps_and_closes_in_four,
    s02_what_is_sent_again_names_the_first,
    s02_long_runs_are_folded,
    s02_datagrams_have_ladders,
}
