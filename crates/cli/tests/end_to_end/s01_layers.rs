//! System S1: frames taken apart layer by layer; tshark judges.

use crate::harness::peer::scenarios;

scenarios! { "s01.py" with "tshark":
    s01_every_field_is_what_tshark_has,
    s01_tls_handshakes_are_what_tshark_has,
    s01_fragments_are_put_together,
    s01_errors_show_the_packet_they_quote,
    s01_models_number_each_layer,
    s01_packhorse_and_classic_are_known,
    s01_hostile_frames_are_noted_and_harm_nobody,
    s01_texts_from_captures_steer_no_terminal,
}
