//! Senders that break one rule each: the receiver ends with 6, says why, and tells them.

use super::{Attack, expect_error};

/// The receiver ends with 6, says why (and of which entry), and tells the sender.
#[track_caller]
fn breach(scenario: &str, says: &str) {
    if let Some(attack) = Attack::run(scenario) {
        attack.receiver.expect_code(6);
        expect_error(&attack.receiver, says);
        attack.refused(6);
    }
}

mod entries {
    use super::breach;

    breaches! {
        absolute_path: "/tmp/absolute";
        path_of_dots: "up/../../escaped";
        path_of_one_dot: "./here";
        path_with_nul: "nul\\u{0}byte";
        path_with_empty_component: "a//b";
        path_with_slash_at_its_end: "a/";
        empty_path: "path";
        component_too_long: "xxxxxxxx";
        path_too_long: "dddddddd";
        path_that_is_text: "protocol";
        entry_beneath_a_link: "door/inside";
        entry_beneath_a_file: "file/inside";
        duplicate: "twice";
        file_and_directory_of_one_name: "both";
        out_of_order: "'a'";
        order_of_bytes_not_of_components: "a/z";
        orphan: "nowhere/inside";
        orphan_of_a_finished_directory: "a/late";
        mode_beyond_twelve_bits: "protocol";
        nanoseconds_of_a_second: "protocol";
        size_of_two_to_the_63: "named";
        link_target_with_nul: "protocol";
        link_target_too_long: "protocol";
        link_without_target: "protocol";
        directory_with_size: "protocol";
        entry_of_unknown_kind: "protocol";
        unknown_mandatory_field: "protocol";
        name_with_terminal_escapes_out_of_order: "a\\u{1b}[2J";
        numbers_with_a_gap: "protocol";
        window_overrun: "window";
        window_overrun_in_bytes: "window";
    }
}

mod messages {
    use super::breach;

    breaches! {
        message_too_long: "protocol";
        optional_message_too_long: "protocol";
        unknown_mandatory_message: "127";
        message_of_a_receiver: "protocol";
        second_hello: "protocol";
        second_offer: "protocol";
        bytes_longer_than_the_message: "protocol";
        list_of_two_to_the_32: "protocol";
        map_of_two_to_the_64: "protocol";
        nested_without_end: "protocol";
        keys_twice: "protocol";
        indefinite_length: "protocol";
        integer_not_shortest: "protocol";
        bytes_behind_the_map: "protocol";
        text_that_is_not_utf8: "protocol";
        entries_without_entries: "protocol";
        close_while_listing: "protocol";
        withdrawal_of_a_never_listed_entry: "never listed";
        revision_of_a_never_listed_entry: "never listed";
        revision_of_a_directory: "protocol";
        attempt_that_does_not_grow: "protocol";
        offer_out_of_the_destination: "../beside";
    }
}

mod content {
    use super::breach;

    // A lane's items are of entries, and so is what is said of them.
    breaches! {
        loss_of_a_lane_twice: "lane that was lost";
        content_beyond_the_end: "protocol";
        content_that_starts_beyond_the_end: "protocol";
        content_at_the_end_of_numbers: "protocol";
        content_that_overlaps: "protocol";
        content_with_a_hole: "protocol";
        content_not_at_an_extent: "protocol";
        content_across_extents: "protocol";
        extent_twice: "protocol";
        extent_twice_on_two_lanes: "protocol";
        value_without_content: "protocol";
        value_of_half_an_extent: "protocol";
        value_of_31_bytes: "protocol";
        end_of_a_file_of_known_size: "protocol";
        empty_content: "protocol";
        item_longer_than_its_record: "protocol";
        item_of_4_gib: "protocol";
        item_cut_in_its_header: "protocol";
        item_of_unknown_kind: "protocol";
        record_of_4_gib: "protocol";
        record_a_byte_too_long: "protocol";
        record_of_unknown_kind: "protocol";
        record_with_reserved_bits: "protocol";
        end_of_lane_with_a_body: "protocol";
        too_many_files_under_way: "protocol";
    }
}
