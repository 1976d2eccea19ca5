//! How many files this process may have open.

/// Raises this process's own limit to what it is allowed to. Connections, lanes and directories need descriptors;
/// shells hand out 1,024.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // As many as there are will have to do.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
