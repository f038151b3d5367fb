//! The readers of models: our own safetensors, and the files of other programs.

use foretell_interop::pickle::{self, Origin};
use foretell_interop::{Hyper, InteropError, Scaler, StateDict, StateNetwork};
use foretell_model::{
    BoostingState, ImportedEngine, ImportedModel, ModelState, SavedModel, Schema,
    xgboost_feature_names, xgboost_to_ubjson,
};
use foretell_panel::Matrix;

pub(super) const PICKLE_WORDS: &[&str] = &[
    "cos\nsystem\n",
    "c__builtin__\neval\n",
    "cnumpy\ndtype\n",
    "cnumpy\nndarray\n",
    "ccollections\nOrderedDict\n",
    "ccopyreg\n_reconstructor\n",
    "c_codecs\nencode\n",
    "cjoblib.numpy_pickle\nNumpyArrayWrapper\n",
    "csklearn.preprocessing._data\nStandardScaler\n",
    "csklearn.preprocessing._data\nMinMaxScaler\n",
    "ctorch._utils\n_rebuild_tensor_v2\n",
    "ctorch\nFloatStorage\n",
    "(",
    "t",
    "R",
    "b",
    "q\u{0}",
    "h\u{0}",
    "}",
    "]",
    "u",
    "X\u{4}\u{0}\u{0}\u{0}",
    "mean_",
    "scale_",
    "PK\u{1}\u{2}",
    "PK\u{5}\u{6}",
];

pub(super) const SAFETENSORS_WORDS: &[&str] = &[
    "{\"__metadata__\":{\"foretell\":\"",
    "\"dtype\":\"F32\"",
    "\"U8\"",
    "\"shape\":[",
    "\"data_offsets\":[0,",
    "99999999999999999999",
    "18446744073709551615",
    "\\\"version\\\":1",
    "\\\"units\\\":",
    "-1",
    "null",
];

pub(super) const XGBOOST_WORDS: &[&str] =
    &["[$d#L", "[$l#L", "[#L", "{L", "SL", "i\u{1}", "\"learner\":", "\"trees\":", "N", "}", "]"];

/// Whatever runs is refused with its name, and says that nothing was run.
fn refusal(error: &InteropError) {
    let said = error.to_string();
    assert!(!said.is_empty() && !said.contains('\u{1b}'), "{said}");
    if matches!(error, InteropError::Runs { .. } | InteropError::Instruction { .. }) {
        assert!(said.contains("nothing was run"), "{said}");
    }
}

pub(super) fn pickle(bytes: &[u8]) {
    for origin in [Origin::Joblib, Origin::Torch] {
        if let Err(error) = pickle::read(bytes, origin) {
            refusal(&error);
        }
    }
    match Scaler::read(bytes) {
        Ok(scaler) => {
            assert_eq!(scaler.shifts.len(), scaler.scales.len());
            assert!(scaler.shifts.iter().all(|s| s.is_finite()));
            assert!(scaler.scales.iter().all(|s| s.is_finite() && *s > 0.0));
        }
        Err(error) => refusal(&error),
    }
}

pub(super) fn torch(bytes: &[u8]) {
    let state = match StateDict::read(bytes) {
        Ok(state) => state,
        Err(error) => return refusal(&error),
    };
    for tensor in &state.tensors {
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.numbers.len());
        assert!(tensor.numbers.len() <= bytes.len(), "a tensor is larger than its file");
    }
    if let Ok(network) = StateNetwork::of(&state, &Hyper::default()) {
        let lengths = network.architecture(3).lengths().expect("layers that were found stand");
        let found: Vec<usize> = network.weights.iter().map(Vec::len).collect();
        assert_eq!(found, lengths);
    }
}

pub(super) fn safetensors(bytes: &[u8]) {
    if let Ok(saved) = SavedModel::from_bytes(bytes) {
        let again = saved.to_bytes();
        assert_eq!(SavedModel::from_bytes(&again).as_ref(), Ok(&saved), "read, written, read");
        let model = saved.model().expect("what is read can be used");
        let rows = |names: &[String]| Matrix::new(1, names.len(), vec![1.0; names.len()]);
        if let Ok(answer) = model.predict(&rows(&saved.feature_names), &rows(&saved.context_names))
        {
            assert!(answer.as_slice().iter().all(|q| q.is_finite()));
        }
    }
    if let Ok(model) = ImportedModel::from_bytes(bytes) {
        let engine = ImportedEngine::new(&model).expect("what is read can be used");
        if let Ok(answer) = engine.answer(&vec![1.0; model.columns.len()]) {
            assert!(answer.is_finite());
        }
    }
}

pub(super) fn xgboost(bytes: &[u8]) {
    if let Ok((state, names)) = BoostingState::from_xgboost(bytes) {
        let schema = Schema { feature_names: names, context_names: Vec::new() };
        let _ = ModelState::GradientBoosting(state).into_fitted(schema);
    }
    let _ = xgboost_feature_names(bytes);
    if let Ok(document) = xgboost_to_ubjson(bytes) {
        let again = xgboost_to_ubjson(&document).expect("what is written is read");
        assert_eq!(again, document, "written twice");
    }
}
