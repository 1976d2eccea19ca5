//! System S5: a chat over UDP. The other side is Python's standard library.

use crate::harness::peer::scenarios;

scenarios! { "s05.py":
    s05_the_server_answers_who_spoke,
    s05_a_chat_over_two_kinds_keeps_to_each,
    s05_peers_are_listed,
    s05_q_ends_a_chat_on_either_side,
    s05_silent_peers_are_forgotten,
    s05_a_client_by_pipe,
    s05_a_client_at_a_terminal_ends_with_q,
    s05_a_client_is_ended_by_the_server_s_q,
    s05_a_datagram_that_is_cut_is_reported,
    s05_datagrams_of_every_length_arrive_whole,
    s05_nobody_there_is_said_and_the_next_may_be,
}
