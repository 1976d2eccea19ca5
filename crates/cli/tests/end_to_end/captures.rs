//! Capture files and interfaces: what is read, and what is said about damage.
