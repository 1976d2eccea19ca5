//! System S6: messages on a stream, and the frames that keep them apart. The other side is Python's
//! standard library.

use crate::harness::peer::scenarios;

scenarios! { "s06.py":
    s06_unframed_messages_stick_together,
    s06_frames_arrive_whole_however_they_are_cut_and_glued,
    s06_what_is_typed_is_framed,
    s06_lies_about_lengths_are_refused,
    s06_hexadecimal_in_and_out,
    s06_pasted_lines_are_messages_of_their_own,
    s06_sockets_with_boundaries_need_no_frames,
    s06_a_room_of_four_kinds_of_sockets,
}
