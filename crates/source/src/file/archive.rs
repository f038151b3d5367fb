//! Zip archives: what they hold, and one of their files.

use std::fmt::Display;
use std::io::{Cursor, Read};

use ::bytes::Bytes;
use zip::ZipArchive;

use super::MAX_BYTES;
use crate::error::{Malformed, excerpt};

/// An archive whose list of files has been read.
pub(crate) struct Archive<'a> {
    origin: &'a str,
    zip: ZipArchive<Cursor<Bytes>>,
    names: Vec<String>,
}

fn damaged(origin: &str, error: &dyn Display) -> Malformed {
    let problem = format!("the zip archive is damaged or cut off ({error})");
    Malformed::new(origin, problem, "fetch or pack it again")
}

impl<'a> Archive<'a> {
    /// Reads the list of files.
    ///
    /// # Errors
    /// When the archive is damaged.
    pub(crate) fn open(origin: &'a str, bytes: Bytes) -> Result<Self, Malformed> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(origin, &e))?;
        let mut names = Vec::new();
        for name in zip.file_names() {
            let name = name.map_err(|e| damaged(origin, &e))?;
            // Folders, and what one operating system adds to every archive.
            if !name.ends_with('/') && !name.starts_with("__MACOSX/") {
                names.push(name.into_owned());
            }
        }
        Ok(Self { origin, zip, names })
    }

    /// Its files, in their order.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The bytes of one file.
    ///
    /// # Errors
    /// When it is damaged or unpacks to more than the limit.
    pub(crate) fn read(&mut self, name: &str) -> Result<Bytes, Malformed> {
        let file = self.zip.by_name(name).map_err(|e| damaged(self.origin, &e))?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        let read = read.map_err(|e| damaged(self.origin, &e))?;
        if read as u64 > MAX_BYTES {
            let problem = format!("`{name}` unpacks to more than {MAX_BYTES} bytes");
            return Err(Malformed::new(self.origin, problem, "split the file"));
        }
        Ok(Bytes::from(bytes))
    }
}

/// The only file of an archive that stands in the place of a file of prices.
///
/// # Errors
/// When the archive is damaged, a spreadsheet, or holds none or several.
pub(super) fn only_file(origin: &str, bytes: Bytes) -> Result<Bytes, Malformed> {
    let mut archive = Archive::open(origin, bytes)?;
    match archive.names() {
        [only] => {
            let only = only.clone();
            archive.read(&only)
        }
        names if names.iter().any(|name| name == "[Content_Types].xml") => {
            let problem = "this is a spreadsheet";
            Err(Malformed::new(origin, problem, "save the sheet as CSV"))
        }
        names => {
            let shown = excerpt(&names.join(", "), 200);
            let problem = format!("the archive holds {} files: {shown}", names.len());
            let remedy = "unpack it and give the one that is meant";
            Err(Malformed::new(origin, problem, remedy))
        }
    }
}
