//! System S11: streams, numbered and counted as tshark does.
