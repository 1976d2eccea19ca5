//! Ledgers of calls, the three lanes, and the demonstration: Python counts at the other end, tshark sees the wire.

use std::process::Command;

use crate::harness::peer::{scenario, scenarios};
use crate::harness::surroundings::{not_shown, works};

scenarios! { "ledger.py" with "tshark":
    ledger_a_client_counts_as_its_peer_does,
    ledger_a_server_keeps_its_clients_apart,
    ledger_with_tls_it_counts_what_is_on_the_socket,
    ledger_sockets_without_tcp_are_logged_without_tcp_info,
    ledger_it_can_be_read_after_kill_9,
    ledger_a_full_disk_ends_the_ledger_and_nothing_else,
    ledger_a_place_that_cannot_be_written_is_said_before_anything_is_sent,
    ledger_a_transfer_is_logged_on_both_sides,
    ledger_classic_files_are_logged_on_both_sides,
    ledger_a_capture_without_calls_is_told,
}

/// Scenarios that take a network of their own.
fn in_a_network(test: &str, name: &str) {
    let mut network = Command::new("unshare");
    network.args(["-Urn", "ip", "link", "set", "lo", "mtu", "1500", "up"]);
    if works(&mut network) {
        scenario(test, "ledger.py", "tshark", name);
    } else {
        not_shown(
            test,
            "it needs a user namespace with a network in it, and ip",
        );
    }
}

#[test]
fn ledger_lanes_agree_with_tshark() {
    in_a_network("ledger_lanes_agree_with_tshark", "lanes_agree_with_tshark");
}

#[test]
fn ledger_the_demonstration_shows_what_it_says() {
    in_a_network(
        "ledger_the_demonstration_shows_what_it_says",
        "the_demonstration_shows_what_it_says",
    );
}
