//! Where the crate `parquet` reads from.

use std::io::{Chain, Cursor, Error, ErrorKind, Read, Result};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// How much larger than it is stored a page may be, and from how many bytes on that counts.
const MOST_TIMES: u64 = 1000;
const SMALL: u64 = 1 << 28;

/// A source whose readers fail at the end of the file, and where they begin with the header of a page that
/// claims to be larger than can be. The parser takes memory for as much as a header states, and an end as
/// so many bytes that it may skip, up to 2^31 times where a damaged file says so.
///
/// A reader may begin elsewhere, so a header that no writer makes, with its fields in another order, is not
/// noticed.
pub(crate) struct Pages<C>(pub(crate) C);

impl<C: Length> Length for Pages<C> {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl<C: ChunkReader> ChunkReader for Pages<C> {
    type T = Ending<Chain<Cursor<Vec<u8>>, C::T>>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let mut reader = self.0.get_read(start)?;
        // Three numbers of at most ten bytes, each after what it is.
        let mut header = Vec::new();
        reader.by_ref().take(33).read_to_end(&mut header)?;
        if let Some([_, size, stored]) = sizes(&header)
            && size > SMALL
            && size / MOST_TIMES > stored
        {
            return Err(ParquetError::General(format!(
                "damaged: a page of {stored} bytes says that it holds {size}, more than {MOST_TIMES} \
                 times as many"
            )));
        }
        Ok(Ending(Cursor::new(header).chain(reader)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

/// The first fields of a page's header in Thrift's compact protocol, as writers have them: its type, its
/// size, and how much of the file it takes.
fn sizes(header: &[u8]) -> Option<[u64; 3]> {
    /// The next field in order, whatever its type is: the parser does not look at that.
    const NEXT: u8 = 1;
    let mut bytes = header.iter().copied();
    let mut field = || {
        (bytes.next()? >> 4 == NEXT).then_some(())?;
        let mut number = 0u64;
        for at in 0..10 {
            let byte = bytes.next()?;
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                // Zigzag: odd ones are below 0. What is beyond 32 bits is cut off, as by the parser.
                let number = (number >> 1) as i64 ^ -((number & 1) as i64);
                return u64::try_from(number as i32).ok();
            }
        }
        None
    };
    Some([field()?, field()?, field()?])
}

/// See [`Pages`].
pub(crate) struct Ending<R>(R);

impl<R: Read> Read for Ending<R> {
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

    /// A page of type 0 whose size and stored size are as given, and three bytes.
    fn page(size: &[u8], stored: &[u8]) -> Pages<Bytes> {
        Pages([&[0x15, 0, 0x15], size, &[0x15], stored, b"abc"].concat().into())
    }

    #[test]
    fn an_end_is_an_error_and_what_is_before_it_is_read() {
        let source = page(&[4], &[4]);
        assert_eq!(source.len(), 9);
        let mut reader = source.get_read(0).unwrap();
        let mut read = [0; 9];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"\x15\0\x15\x04\x15\x04abc");
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        assert_eq!(reader.read(&mut read).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(source.get_bytes(6, 2).unwrap(), "ab");
    }

    #[test]
    fn a_page_that_claims_a_thousand_times_its_size_is_refused() {
        // 2^30 - 1, in zigzag.
        let far = [0xfe, 0xff, 0xff, 0xff, 0x07];
        let said = |source: Pages<Bytes>| source.get_read(0).err().unwrap().to_string();
        assert!(said(page(&far, &[4])).contains("2 bytes says that it holds 1073741823"));
        assert!(page(&far, &far).get_read(0).is_ok());
        let of_other_type = [&[0x15, 4, 0x15], &far[..], &[0x12, 0, 0]].concat();
        assert!(said(Pages(of_other_type.into())).contains("of 0 bytes"));
        let cut = [0xfe, 0xff, 0xff, 0xff, 0x87, 0x80, 0x01];
        assert!(said(page(&cut, &[4])).contains("2 bytes says that it holds 1073741823"));
        // Content, and a number below 0.
        for other in
            [Bytes::from_static(b"1234PAR1"), Bytes::from_static(b"\x15\0\x15\x01\x15\x02")]
        {
            assert_eq!(sizes(&other), None);
            assert!(Pages(other).get_read(0).is_ok());
        }
    }
}
