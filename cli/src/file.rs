//! One file of a folder, which is open only while a piece of it is read.

use std::fs::Metadata;
use std::future::{Future, Ready, ready};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::task::JoinHandle;
use tower_http::services::fs;

/// A file as it was when it was asked for. Whoever takes no more of it holds no open file, of which the process has few thousand: it is
/// opened anew for each piece. Where it is another by then, or has changed, it breaks off rather than goes on with what does not belong
/// to its beginning.
pub(crate) struct File {
    source: Arc<Source>,
    position: u64,
    /// The piece that is being read, at the position.
    piece: Option<JoinHandle<io::Result<Vec<u8>>>>,
}

struct Source {
    path: PathBuf,
    metadata: Metadata,
}

impl File {
    /// Blocks.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let metadata = std::fs::File::open(&path)?.metadata()?;
        Ok(Self { source: Arc::new(Source { path, metadata }), position: 0, piece: None })
    }
}

impl Source {
    /// Blocks. Empty at the end of the file.
    fn read(&self, position: u64, octets: usize) -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(&self.path)?;
        if !is_same(&file.metadata()?, &self.metadata) {
            return Err(io::Error::other("the file has changed while it was sent"));
        }
        file.seek(SeekFrom::Start(position))?;
        let mut piece = Vec::with_capacity(octets);
        file.take(octets as u64).read_to_end(&mut piece)?;
        Ok(piece)
    }
}

fn is_same(file: &Metadata, before: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if (file.dev(), file.ino()) != (before.dev(), before.ino()) {
            return false;
        }
    }
    file.len() == before.len() && file.modified().ok() == before.modified().ok()
}

impl AsyncRead for File {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (source, position, octets) = (&self.source, self.position, buf.remaining());
        if self.piece.is_none() {
            let source = source.clone();
            self.piece = Some(tokio::task::spawn_blocking(move || source.read(position, octets)));
        }
        let Some(piece) = &mut self.piece else { return Poll::Pending };
        let read = ready!(Pin::new(piece).poll(cx));
        self.piece = None;
        let mut piece = read??;
        // Whoever reads may have less room than when the piece was asked for.
        piece.truncate(buf.remaining());
        buf.put_slice(&piece);
        self.position += piece.len() as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let moved = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.source.metadata.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = moved.ok_or(io::ErrorKind::InvalidInput)?;
        self.piece = None;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

impl fs::File for File {
    type Metadata = Metadata;
    type MetadataFuture<'a> = Ready<io::Result<Metadata>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.source.metadata.clone()))
    }
}
