//! System S4: a TCP server and client. The other side is Python's standard library.

use crate::harness::peer::scenarios;

scenarios! { "s04.py":
    s04_listen_greets_and_hears,
    s04_listen_is_a_pipe,
    s04_connect_hears_and_answers,
    s04_who_closed_first_is_said,
    s04_a_reset_is_told_from_a_close,
    s04_bytes_cross_unchanged_in_both_directions_at_once,
    s04_an_answer_to_the_end_of_input_is_heard,
    s04_a_peer_that_sends_no_more_still_gets_the_rest,
    s04_ends_of_input_are_as_asked,
    s04_counts_rates_and_idle_times_are_kept,
    s04_a_character_that_is_cut_is_shown_whole,
    s04_a_person_s_line_is_not_torn,
    s04_last_words_are_shown_at_a_terminal,
    s04_pasted_lines_all_arrive,
    s04_bytes_that_are_no_text_are_not_sent_and_end_nothing,
    s04_a_reader_that_is_stuck_does_not_keep_it,
    s04_quit_gives_the_terminal_back,
    s04_ctrl_c_gives_the_terminal_back,
    s04_listen_takes_many_and_ends_in_order,
    s04_nobody_there_is_said,
}
