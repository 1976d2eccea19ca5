//! System S11: streams, numbered, counted and followed as tshark does.

use crate::harness::peer::scenarios;

scenarios! { "s11.py" with "tshark":
    s11_streams_are_counted_as_tshark_counts_them,
    s11_streams_are_followed_as_tshark_follows_them,
    s11_a_long_stream_is_byte_for_byte_what_was_sent,
    s11_udp_conversations_are_numbered_as_tshark_numbers_them,
    s11_segments_in_fragments_are_put_together,
    s11_errors_quote_streams_that_count,
    s11_frames_that_were_cut_count_for_what_they_were,
    s11_no_such_stream_is_said,
    s11_a_million_half_open_streams_stay_in_bounds,
}

scenarios! { "network.py" with "nft":
    network_what_is_captured_there_is_what_tshark_has,
    network_one_loss_as_a_ladder,
}
