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
}
