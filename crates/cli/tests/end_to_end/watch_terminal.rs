//! The terminal interface of watch, on a terminal that another program keeps.

use crate::harness::peer::scenarios;

scenarios! { "screen.py" with "tmux -V":
    screen_a_capture_is_looked_through,
    screen_it_filters_and_searches,
    screen_every_size_is_enough,
    screen_signals_give_the_terminal_back,
    screen_it_ends_with_its_terminal,
    screen_damage_is_told_when_it_ends,
    screen_what_is_no_capture_never_opens_the_screen,
    screen_texts_from_captures_steer_no_terminal,
    screen_an_interface_is_watched_and_kept,
}
