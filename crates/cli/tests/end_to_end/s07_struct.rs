//! System S7: Python's struct language. The judge is Python's struct module.

use crate::harness::peer::scenarios;

scenarios! { "s07.py":
    s07_packs_what_python_packs,
    s07_unpacks_what_python_unpacks,
    s07_calcsize_is_that_of_python,
    s07_raw_bytes_go_through_a_pipe,
    s07_what_was_unpacked_can_be_packed,
    s07_values_begin_with_anything,
    s07_a_length_header_is_four_bytes,
    s07_bad_formats_are_named_with_their_position,
    s07_values_that_do_not_fit_are_named,
    s07_bytes_that_do_not_fit_are_refused,
    s07_huge_formats_cost_nothing,
    s07_millions_of_values_are_printed_one_by_one,
}
