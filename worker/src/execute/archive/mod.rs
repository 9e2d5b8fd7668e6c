//! A toolchain as one file. The packer writes equal bytes for equal trees; the unpacker trusts nothing in an archive.

mod link;
mod pack;
mod unpack;

pub use pack::{PackedTree, pack};
pub use unpack::unpack;

/// Entries of one archive.
pub const MAX_ENTRIES: u64 = 200_000;
/// Size of one archive, unpacked.
pub const MAX_BYTES: u64 = 2 << 30;
/// Length of a path in an archive, and of a link's target.
const MAX_PATH_BYTES: usize = 4096;

/// Why a tree cannot be packed or an archive cannot be unpacked. Nothing from a refused archive may be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("`{path}` is {what}: a toolchain may contain only files, folders and symbolic links")]
    Kind { path: String, what: &'static str },
    #[error(
        "the link `{path}` points to `{target}`: expected a relative path that stays in the toolchain, with `..` only \
         at its start"
    )]
    Link { path: String, target: String },
    #[error("`{path}` is not a path within the toolchain")]
    Path { path: String },
    #[error("`{path}` is in the archive twice, or below something that is not a folder")]
    Occupied { path: String },
    #[error("the toolchain contains more than {MAX_ENTRIES} files and folders")]
    TooMany,
    #[error("the toolchain is larger than {} GiB", MAX_BYTES >> 30)]
    TooLarge,
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
}

impl ArchiveError {
    /// Whether whoever made the tree is to blame, and not the machine: also for a path that is too long to be opened, or that
    /// its own modes keep from being read.
    pub fn is_of_the_tree(&self) -> bool {
        match self {
            ArchiveError::Kind { .. }
            | ArchiveError::Link { .. }
            | ArchiveError::Path { .. }
            | ArchiveError::Occupied { .. }
            | ArchiveError::TooMany
            | ArchiveError::TooLarge => true,
            ArchiveError::Io { source, .. } => {
                source.kind() == std::io::ErrorKind::PermissionDenied
                    || source.raw_os_error() == Some(libc::ENAMETOOLONG)
            }
        }
    }
}

fn io(doing: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> ArchiveError {
    move |source| ArchiveError::Io { doing: doing.to_string(), source }
}
