//! Zip archives as PyTorch writes them: every file stored as it is.
//!
//! Format: PKWARE's APPNOTE 6.3.10. Only files that are stored without compression are
//! read, so that nothing ever becomes larger than the archive; their checksums are compared.

use std::collections::BTreeMap;

use crate::InteropError;
use crate::error::{damaged, unsupported};

const WHAT: &str = "archive";
/// The most files; a network of a hundred layers has a few hundred.
const MOST_FILES: usize = 20_000;

/// The files of an archive by name.
pub(crate) struct Archive<'a> {
    files: BTreeMap<&'a str, &'a [u8]>,
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk::<2>().map(|b| usize::from(u16::from_le_bytes(*b)))
}

fn double(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
}

impl<'a> Archive<'a> {
    /// Reads the list of files at the end, and finds each.
    ///
    /// # Errors
    /// When it is cut off, compressed, encrypted, or a checksum differs.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, InteropError> {
        let cut = || damaged(WHAT, "its end", "the list of its files is missing or cut off");
        // The last record has 22 bytes and a comment of up to 65,535.
        let earliest = bytes.len().saturating_sub(22 + 65_535);
        let tail = &bytes[earliest..];
        let end = tail.windows(4).rposition(|w| w == b"PK\x05\x06").ok_or_else(cut)?;
        let end = &tail[end..];
        if word(end, 20).is_none_or(|comment| end.len() != 22 + comment) {
            return Err(cut());
        }
        let count = word(end, 10).ok_or_else(cut)?;
        let start = double(end, 16).ok_or_else(cut)?;
        if count > MOST_FILES || start == u32::MAX {
            return Err(InteropError::TooLarge {
                what: WHAT,
                found: format!("{count} files"),
                most: format!("{MOST_FILES} files or 4 GB"),
                remedy: "models of that size have no use here",
            });
        }
        let mut list = bytes.get(start as usize..).ok_or_else(cut)?;
        let mut files = BTreeMap::new();
        let mut total = 0usize;
        for _ in 0..count {
            if list.get(..4) != Some(b"PK\x01\x02") {
                return Err(cut());
            }
            let at = |place| word(list, place).ok_or_else(cut);
            let long = |place| double(list, place).ok_or_else(cut);
            let (flags, method) = (at(8)?, at(10)?);
            let (checksum, packed, size) = (long(16)?, long(20)?, long(24)?);
            let (name, extra, comment) = (at(28)?, at(30)?, at(32)?);
            let place = long(42)? as usize;
            let name_bytes = list.get(46..46 + name).ok_or_else(cut)?;
            let name_text = std::str::from_utf8(name_bytes)
                .map_err(|_| damaged(WHAT, "a name", "it is not UTF-8"))?;
            if flags & 1 != 0 || method != 0 || packed != size {
                return Err(unsupported(
                    format!("`{name_text}` in the archive is compressed or encrypted"),
                    "PyTorch stores its files as they are; save the model again with \
                     `torch.save(model.state_dict(), path)`",
                ));
            }
            let contents = contents(bytes, place, size as usize)
                .ok_or_else(|| damaged(WHAT, format!("`{name_text}`"), "the file is cut off"))?;
            // Files that share their bytes would be summed up again and again.
            total = total.saturating_add(contents.len());
            if total > bytes.len() {
                return Err(damaged(WHAT, format!("`{name_text}`"), "its files overlap"));
            }
            if crc32(contents) != checksum {
                return Err(damaged(WHAT, format!("`{name_text}`"), "its checksum differs"));
            }
            if files.insert(name_text, contents).is_some() {
                return Err(damaged(WHAT, format!("`{name_text}`"), "it is there twice"));
            }
            list = list.get(46 + name + extra + comment..).ok_or_else(cut)?;
        }
        Ok(Self { files })
    }

    /// The names of the files.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.files.keys().copied()
    }

    /// The bytes of a file.
    pub(crate) fn file(&self, name: &str) -> Option<&'a [u8]> {
        self.files.get(name).copied()
    }
}

/// What follows the header of a file at a place.
fn contents(bytes: &[u8], place: usize, size: usize) -> Option<&[u8]> {
    let header = bytes.get(place..)?;
    if header.get(..4) != Some(b"PK\x03\x04") {
        return None;
    }
    let start = 30 + word(header, 26)? + word(header, 28)?;
    header.get(start..start.checked_add(size)?)
}

/// The checksum of zip: CRC-32 of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    let mut table = [0u32; 256];
    for (i, entry) in table.iter_mut().enumerate() {
        *entry =
            (0..8).fold(i as u32, |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 });
    }
    !bytes.iter().fold(!0, |crc, b| crc >> 8 ^ table[(crc as u8 ^ b) as usize])
}

/// An archive of stored files.
#[cfg(test)]
pub(crate) fn stored(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut list) = (Vec::new(), Vec::new());
    for (name, contents) in files {
        let place = out.len() as u32;
        let (size, length) = (contents.len() as u32, name.len() as u16);
        let mut facts = [0u8; 12];
        facts[..4].copy_from_slice(&crc32(contents).to_le_bytes());
        facts[4..8].copy_from_slice(&size.to_le_bytes());
        facts[8..].copy_from_slice(&size.to_le_bytes());
        out.extend([b"PK\x03\x04".as_slice(), &[0; 10], &facts, &length.to_le_bytes()].concat());
        out.extend([&[0; 2], name.as_bytes(), contents].concat());
        list.extend([b"PK\x01\x02".as_slice(), &[0; 12], &facts, &length.to_le_bytes()].concat());
        list.extend([&[0; 12], place.to_le_bytes().as_slice(), name.as_bytes()].concat());
    }
    let (start, length) = (out.len() as u32, list.len() as u32);
    let count = (files.len() as u16).to_le_bytes();
    out.extend(list);
    out.extend([b"PK\x05\x06".as_slice(), &[0; 4], &count, &count].concat());
    out.extend([length.to_le_bytes().as_slice(), &start.to_le_bytes(), &[0; 2]].concat());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand entries of one file: summing each up would take a thousand times as long.
    #[test]
    fn files_that_share_their_bytes_are_refused() {
        let one = stored(&[("0000", &[7; 100_000])]);
        let archive = Archive::read(&one).unwrap();
        assert_eq!(archive.file("0000").map(<[u8]>::len), Some(100_000));
        let list = one.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        let (entry, end) = (&one[list..list + 50], &one[list + 50..]);
        let mut bytes = one[..list].to_vec();
        for i in 0..1_000 {
            bytes.extend_from_slice(&entry[..46]);
            bytes.extend_from_slice(format!("{i:04}").as_bytes());
        }
        let mut end = end.to_vec();
        end[10..12].copy_from_slice(&1_000u16.to_le_bytes());
        bytes.extend(end);
        let error = Archive::read(&bytes).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("overlap"), "{error}");
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
