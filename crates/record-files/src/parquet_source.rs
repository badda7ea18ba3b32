//! Where the crate `parquet` reads from.

use std::io::{Error, ErrorKind, Read, Result};

use bytes::Bytes;
use parquet::file::reader::{ChunkReader, Length};

/// A source whose readers fail at its end. The parser takes an end as so many bytes that it may skip,
/// up to 2^31 times where a damaged file says so.
pub(crate) struct Ending<C>(pub(crate) C);

impl<C: Length> Length for Ending<C> {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl<C: ChunkReader> ChunkReader for Ending<C> {
    type T = EndingReader<C::T>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        self.0.get_read(start).map(EndingReader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

/// See [`Ending`].
pub(crate) struct EndingReader<R>(R);

impl<R: Read> Read for EndingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => {
                Err(Error::new(ErrorKind::UnexpectedEof, "a part goes beyond the end of the file"))
            }
            count => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_an_error_and_what_is_before_it_is_read() {
        let source = Ending(Bytes::from_static(b"abc"));
        assert_eq!(source.len(), 3);
        let mut reader = source.get_read(1).unwrap();
        let mut read = [0; 2];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"bc");
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        assert_eq!(reader.read(&mut read).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(source.get_bytes(0, 3).unwrap(), "abc");
    }
}
