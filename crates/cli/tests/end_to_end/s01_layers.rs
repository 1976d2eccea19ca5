//! System S1: frames taken apart layer by layer; tshark judges.
