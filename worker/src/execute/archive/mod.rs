//! A toolchain as one file. The packer writes equal bytes for equal trees; the unpacker believes nothing.

mod link;
mod pack;
mod unpack;

pub use pack::{PackedTree, pack};
pub use unpack::unpack;

/// Of one archive.
pub const MAX_ENTRIES: u64 = 200_000;
/// Of one archive, unpacked.
pub const MAX_BYTES: u64 = 2 << 30;
/// Of a path in an archive, and of what a link points to.
const MAX_PATH_BYTES: usize = 4096;

/// Why a tree cannot be packed, or an archive not be unpacked. Nothing of a refused archive may be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("`{path}` is {what}: a toolchain may hold files, folders and symbolic links only")]
    Kind { path: String, what: &'static str },
    #[error(
        "the link `{path}` points to `{target}`: expected a relative path that stays in the toolchain, with `..` only \
         at its start"
    )]
    Link { path: String, target: String },
    #[error("`{path}` is not a path within the toolchain")]
    Path { path: String },
    #[error("`{path}` is in the archive twice, or below something that is no folder")]
    Occupied { path: String },
    #[error("the toolchain holds more than {MAX_ENTRIES} files and folders")]
    TooMany,
    #[error("the toolchain holds more than {} GiB", MAX_BYTES >> 30)]
    TooLarge,
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
}

fn io(doing: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> ArchiveError {
    move |source| ArchiveError::Io { doing: doing.to_string(), source }
}
