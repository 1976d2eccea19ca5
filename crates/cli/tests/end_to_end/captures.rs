//! Capture files and interfaces: what is read, and what is said about damage.

use crate::harness::peer::scenarios;

scenarios! { "captures.py" with "tshark":
    read_classic_files_of_every_order_resolution_and_link,
    read_sections_interfaces_and_clocks,
    read_simple_and_obsolete_packets,
    read_compressed_files,
    read_a_pipe_is_read_as_it_comes,
    read_every_cut_is_told_with_its_offset,
    read_random_damage_is_told_and_harms_nobody,
    read_lying_lengths_cost_no_memory,
    read_what_is_no_capture_is_said,
    read_what_is_chosen_is_kept,
    read_what_would_be_ignored_is_said,
}

scenarios! { "filters.py" with "tshark":
    filters_random_questions_have_tshark_s_answers,
    filters_a_wrong_filter_is_told_with_its_place,
}

scenarios! { "live.py" with "tshark":
    live_what_is_kept_is_what_was_sent,
    live_only_what_matches_is_kept,
    live_it_ends_by_itself_after_its_time,
    live_any_interface_is_watched,
    live_what_the_kernel_dropped_is_told,
    live_one_capability_is_enough,
    live_an_interface_that_goes_is_told,
    live_without_the_right_it_says_how_to_grant_it,
    live_an_interface_that_is_not_there_is_told,
}
