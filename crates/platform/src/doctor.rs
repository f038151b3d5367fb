//! What is installed, reachable or misconfigured, and the remedy.

use std::path::Path;

use serde::Serialize;

use crate::data_dir::DataDir;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What.
    pub what: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// How it is.
    pub state: String,
    /// What to do when it is not.
    pub remedy: Option<String>,
}

/// Looks at the data directory, the machine and the settings; changes nothing.
pub fn data_dir_state(path: &Path) -> Vec<Diagnosis> {
    let mut found = vec![Diagnosis {
        what: "foretell".to_owned(),
        ok: true,
        state: format!("version {}", env!("CARGO_PKG_VERSION")),
        remedy: None,
    }];
    let threads = crate::training::threads();
    found.push(Diagnosis {
        what: "processor".to_owned(),
        ok: true,
        state: format!("{threads} threads, {}", foretell_model::cpu_features()),
        remedy: None,
    });
    found.push(directory(path));
    if let Some(file) = std::env::var_os("FORETELL_TOKEN_FILE") {
        let there = Path::new(&file).is_file();
        found.push(Diagnosis {
            what: "API token".to_owned(),
            ok: there,
            state: format!("FORETELL_TOKEN_FILE = {}", Path::new(&file).display()),
            remedy: (!there).then(|| "make the file or unset the variable".to_owned()),
        });
    }
    found
}

fn directory(path: &Path) -> Diagnosis {
    let what = "data directory".to_owned();
    let shown = path.display();
    if !path.exists() {
        let state = format!("{shown} does not exist yet; the first run makes it");
        return Diagnosis { what, ok: true, state, remedy: None };
    }
    let writable = std::fs::metadata(path).is_ok_and(|m| m.is_dir() && !m.permissions().readonly());
    if !writable {
        let remedy = Some("name a folder that you may write with --data-dir".to_owned());
        let state = format!("{shown} is no folder that can be written");
        return Diagnosis { what, ok: false, state, remedy };
    }
    let state = match DataDir::owner(path) {
        Some(owner) => {
            let api = owner.api.as_ref().map_or_else(String::new, |api| format!(", API at {api}"));
            format!("{shown} is owned by {}{api}", owner.describe())
        }
        None => format!("{shown} is free"),
    };
    Diagnosis { what, ok: true, state, remedy: None }
}
