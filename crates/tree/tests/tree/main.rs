//! Walking and storing through the public interface, judged by coreutils and the standard library.

mod beneath;
mod child;
mod fixture;
mod full;
mod leftovers;
mod metadata;
mod remains;
mod rolls;
mod sources;
mod store;
mod symlink;
mod unprivileged;
mod walk;
