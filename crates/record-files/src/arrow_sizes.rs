//! Whether the parts of an Arrow file are as large as it says, before a reader takes memory for them.

use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};

use arrow_ipc::{Block, Message, RecordBatch, root_as_footer, root_as_message};

/// What a file ends with.
const MAGIC: u64 = "ARROW1".len() as u64;

/// What stands before the length of a message.
const CONTINUATION: u32 = u32::MAX;

/// How much larger than it is stored the uncompressed content of a buffer may be, and from how many
/// bytes on that counts: texts and numbers stay far below.
const MOST_TIMES: u64 = 1000;
const SMALL: u64 = 1 << 28;

/// Checks the parts that the footer of a file lists.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`] or [`ErrorKind::UnexpectedEof`] where a part is not within the file or
/// claims to be larger than can be; others where the file cannot be read.
pub(crate) fn check_file<R: Read + Seek>(reader: &mut R) -> Result<()> {
    let size = reader.seek(SeekFrom::End(0))?;
    let end = size.checked_sub(4 + MAGIC).ok_or_else(|| damaged("it has no footer"))?;
    let length = u64::from(word(reader, end)?);
    let start = end
        .checked_sub(length)
        .ok_or_else(|| damaged(&format!("its footer has {length} bytes, the file {size}")))?;
    let bytes = bytes(reader, start, length)?;
    let footer = root_as_footer(&bytes).map_err(|error| damaged(&error.to_string()))?;
    for block in footer.dictionaries().into_iter().chain(footer.recordBatches()).flatten() {
        check_block(reader, block, size)?;
    }
    reader.seek(SeekFrom::Start(0))?;
    Ok(())
}

/// Checks the messages of a stream, one after the other.
///
/// # Errors
///
/// As [`check_file`].
pub(crate) fn check_stream<R: Read + Seek>(reader: &mut R) -> Result<()> {
    let size = reader.seek(SeekFrom::End(0))?;
    let mut at = 0;
    while at < size {
        match check_message(reader, at, size)? {
            Some(next) => at = next,
            None => break,
        }
    }
    reader.seek(SeekFrom::Start(0))?;
    Ok(())
}

/// Checks a message of a file of `size` bytes, of which the footer says where it and its content are: the
/// reader goes by that, whatever the message says itself.
fn check_block<R: Read + Seek>(reader: &mut R, block: &Block, size: u64) -> Result<()> {
    let (at, own, content) = (block.offset(), block.metaDataLength(), block.bodyLength());
    let unsigned = |value: i64| u64::try_from(value).ok();
    let place = || {
        let at = unsigned(at)?;
        let body = at.checked_add(unsigned(own.into())?)?;
        let end = body.checked_add(unsigned(content)?)?;
        // The mark before the message, and its length.
        (end <= size && body - at >= 8).then_some((at, body, end))
    };
    let (at, body, end) = place().ok_or_else(|| {
        damaged(&format!(
            "a message of {own} bytes and {content} of content begin at {at} of {size}"
        ))
    })?;
    let start = if word(reader, at)? == CONTINUATION { at + 8 } else { at + 4 };
    let bytes = bytes(reader, start, body - start)?;
    let message = root_as_message(&bytes).map_err(|error| damaged(&error.to_string()))?;
    check_batch(reader, &message, body, end)
}

/// Checks the message at `at` of a stream of `size` bytes, and gives where it ends; `None` for the mark
/// of the end.
fn check_message<R: Read + Seek>(reader: &mut R, at: u64, size: u64) -> Result<Option<u64>> {
    let mut length = word(reader, at)?;
    let mut start = at + 4;
    // Before format 0.15 the length came first.
    if length == CONTINUATION {
        length = word(reader, start)?;
        start += 4;
    }
    if length == 0 {
        return Ok(None);
    }
    let length = u64::from(length);
    if length > size.saturating_sub(start) {
        return Err(damaged(&format!("a message of {length} bytes begins at {at} of {size}")));
    }
    let bytes = bytes(reader, start, length)?;
    let message = root_as_message(&bytes).map_err(|error| damaged(&error.to_string()))?;
    let body = start + length;
    let end = u64::try_from(message.bodyLength()).ok().and_then(|length| body.checked_add(length));
    let Some(end) = end.filter(|end| *end <= size) else {
        let length = message.bodyLength();
        return Err(damaged(&format!("{length} bytes of content begin at {body} of {size}")));
    };
    check_batch(reader, &message, body, end)?;
    Ok(Some(end))
}

/// Checks the batch of a message that has one.
fn check_batch<R: Read + Seek>(
    reader: &mut R,
    message: &Message<'_>,
    body: u64,
    end: u64,
) -> Result<()> {
    let dictionary = message.header_as_dictionary_batch().and_then(|batch| batch.data());
    match message.header_as_record_batch().or(dictionary) {
        Some(batch) => check_buffers(reader, &batch, body, end),
        None => Ok(()),
    }
}

/// Checks what the compressed buffers of a batch, whose content is from `body` to `end`, say that they
/// hold: eight bytes before each.
fn check_buffers<R: Read + Seek>(
    reader: &mut R,
    batch: &RecordBatch<'_>,
    body: u64,
    end: u64,
) -> Result<()> {
    let (Some(_), Some(buffers)) = (batch.compression(), batch.buffers()) else { return Ok(()) };
    for buffer in buffers {
        let of_file = |value: i64| u64::try_from(value).ok();
        let within =
            of_file(buffer.offset()).zip(of_file(buffer.length())).and_then(|(offset, length)| {
                let start = body.checked_add(offset)?;
                (start.checked_add(length)? <= end).then_some((start, length))
            });
        let Some((start, stored)) = within else {
            return Err(damaged("a buffer is not within its message"));
        };
        if stored < 8 {
            continue;
        }
        reader.seek(SeekFrom::Start(start))?;
        let mut claimed = [0; 8];
        reader.read_exact(&mut claimed)?;
        // Below 0 is for content that is not compressed.
        let claimed = u64::try_from(i64::from_le_bytes(claimed)).unwrap_or(0);
        if claimed > SMALL && claimed / MOST_TIMES > stored {
            return Err(damaged(&format!(
                "{stored} bytes say that they hold {claimed}, more than {MOST_TIMES} times as many"
            )));
        }
    }
    Ok(())
}

fn word<R: Read + Seek>(reader: &mut R, at: u64) -> Result<u32> {
    let mut word = [0; 4];
    reader.seek(SeekFrom::Start(at))?;
    reader.read_exact(&mut word)?;
    Ok(u32::from_le_bytes(word))
}

/// `length` bytes from `start` on, which the caller knows to be there.
fn bytes<R: Read + Seek>(reader: &mut R, start: u64, length: u64) -> Result<Vec<u8>> {
    reader.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("damaged: {what}"))
}
