//! Networks that are trained on a graphics card: a software one, in builds with `gpu`.

use crate::market::{Kind, Market};

#[test]
fn a_network_is_trained_on_the_device_of_its_file_or_the_file_is_refused() {
    let market = Market::new(Kind::Noise, 700, 41);
    let text =
        market.read("pipeline.toml").replace("season = \"7d\"", "season = \"7d\"\nwindow = 3");
    let text = text.replace("min_refits = 5", "min_refits = 5\nfolds = 5\nseeds = 1");
    let network = |device: &str| {
        let keys = "units = [6, 5]\ndropout = 0.1\nepochs = 2\nbatch = 128";
        format!(
            "\n[[models]]\nkind = \"lstm\"\nname = \"{device}\"\n{keys}\ndevice = \"{device}\"\n"
        )
    };
    market.write("pipeline.toml", &format!("{text}{}{}", network("cpu"), network("wgpu")));
    if cfg!(not(feature = "gpu")) {
        let refused = market.run(&["check", "pipeline.toml"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{said}");
        assert!(said.contains("built without the feature `gpu`"), "{said}");
        assert!(said.contains("cargo build --release --features gpu"), "{said}");
        return;
    }
    market.ok(&["check", "pipeline.toml"]);
    let report = market.json(&["run", "pipeline.toml"]);
    let row = |name: &str| {
        let mut lines = report["table"].as_array().unwrap().iter();
        lines.find(|line| line["name"] == name).cloned().unwrap()
    };
    // The same network, drawn and seen in the same order: the table tells them apart in
    // digits that nobody reads.
    let (cpu, wgpu) = (row("cpu"), row("wgpu"));
    for key in ["mae_bp", "crps_bp", "width_bp"] {
        let (here, there) = (cpu[key].as_f64().unwrap(), wgpu[key].as_f64().unwrap());
        assert!((here - there).abs() < 1e-3 * here, "{key}: {here} {there}");
    }
    // The same card learns the same bits again.
    let proof = market.json(&["reproduce", report["run"].as_str().unwrap()]);
    assert_eq!(proof["matches"], true, "{proof}");
}
