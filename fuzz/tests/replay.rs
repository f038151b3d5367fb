//! Replays every kept input of every fuzz target: what broke a reader once must
//! never break it again.

use foretell_fuzz::{corpus, corpus_dir, run, targets};

#[test]
fn every_kept_input_is_read_or_refused() {
    let mut failures = Vec::new();
    for target in targets() {
        let inputs = corpus(target.name).expect("each target has a folder in fuzz/corpus");
        assert!(inputs.len() >= 3, "{}: a corpus of {} inputs", target.name, inputs.len());
        for (name, bytes) in inputs {
            if let Some(message) = run(&target, &bytes) {
                failures.push(format!("{}/{name}: {message}", target.name));
            }
        }
    }
    assert!(failures.is_empty(), "broken by kept inputs:\n{}", failures.join("\n"));
}

#[test]
fn every_folder_belongs_to_a_target() {
    let names: Vec<&str> = targets().iter().map(|t| t.name).collect();
    for entry in std::fs::read_dir(corpus_dir()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(names.contains(&name.as_str()), "fuzz/corpus/{name} has no target");
    }
}
