//! What is installed, reachable or misconfigured, and the remedy.

use std::path::Path;

use serde::Serialize;

use crate::data_dir::{DataDir, Ownership};

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
    match DataDir::take(path, "foretell doctor") {
        Ok(Ownership::Mine(_)) => {
            Diagnosis { what, ok: true, state: format!("{shown} is free"), remedy: None }
        }
        Ok(Ownership::Theirs(owner)) => {
            let api = owner.api.map_or_else(String::new, |api| format!(", API at {api}"));
            let state = format!("{shown} is owned by `{}`{api}", owner.command);
            Diagnosis { what, ok: true, state, remedy: None }
        }
        Err(error) => Diagnosis {
            what,
            ok: false,
            state: error.chain(),
            remedy: Some("name a folder that you may write with --data-dir".to_owned()),
        },
    }
}
