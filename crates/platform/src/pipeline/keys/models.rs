//! The keys of `[[models]]`: the kinds of models, their settings and the search over them.

use super::{Key, Kind, Table, Variant, key};

/// The models that are judged.
pub(super) const MODELS: Table = Table {
    name: "models",
    repeated: true,
    optional: true,
    doc: "The candidates; the random walk always stands beside them.",
    keys: MODEL_COMMON,
    kinds: &[
        Variant { name: "random_walk", doc: "Tomorrow is today.", keys: &[] },
        Variant { name: "drift", doc: "The average step of the training rows goes on.", keys: &[] },
        Variant {
            name: "seasonal_naive",
            doc: "The price of the same time in the season before.",
            keys: &[],
        },
        Variant {
            name: "historical_mean",
            doc: "The mean log return of the training rows.",
            keys: &[],
        },
        Variant {
            name: "ewma_volatility",
            doc: "Random walk with intervals from exponentially weighted volatility.",
            keys: &[],
        },
        Variant { name: "ridge", doc: "Linear regression with an L2 penalty.", keys: RIDGE },
        Variant { name: "random_forest", doc: "Averaged randomised trees.", keys: FOREST },
        Variant {
            name: "gradient_boosting",
            doc: "Boosted trees, one model per quantile.",
            keys: BOOSTING,
        },
        Variant {
            name: "lstm",
            doc: "Long short-term memory over the `window` of [features].",
            keys: RECURRENT,
        },
        Variant {
            name: "gru",
            doc: "Gated recurrent units over the `window` of [features].",
            keys: RECURRENT,
        },
        Variant { name: "mlp", doc: "A multilayer perceptron over all columns.", keys: PERCEPTRON },
        Variant {
            name: "dlinear",
            doc: "A linear forecaster on trend and rest of the `window` of [features].",
            keys: DECOMPOSITION,
        },
        Variant {
            name: "imported",
            doc: "A model that was trained elsewhere (`foretell import`); the spread of its \
                  errors alone is learnt here.",
            keys: IMPORTED,
        },
        Variant {
            name: "theta",
            doc: "Exponential smoothing of the log price with half the slope of its trend.",
            keys: &[],
        },
        Variant {
            name: "ets",
            doc: "Exponential smoothing of the log price with additive errors.",
            keys: ETS,
        },
        Variant { name: "arima", doc: "ARIMA(p, 1, q) with drift on the log price.", keys: ARIMA },
        Variant {
            name: "garch",
            doc: "Random walk with intervals from a GARCH(1,1) variance.",
            keys: GARCH,
        },
        Variant {
            name: "har",
            doc: "Random walk with intervals from the realised variance of horizon, day, week and month (HAR-RV).",
            keys: HAR,
        },
        Variant { name: "mean", doc: "The mean of other models' quantiles.", keys: &[MEMBERS] },
        Variant {
            name: "stacking",
            doc: "Other models' quantiles with weights learnt inside each fold.",
            keys: STACKING,
        },
    ],
};

const MODEL_COMMON: &[Key] =
    &[key("name", Kind::Text, Some(""), "Name in tables; the kind when left out.")];

const RIDGE: &[Key] = &[
    key(
        "alpha",
        Kind::Number(0.0, 1e12),
        Some("1.0"),
        "Strength of the L2 penalty on standardised columns.",
    ),
    key(
        "volatility_scaled",
        Kind::Boolean,
        Some("false"),
        "Whether the spread of its quantiles follows the exponentially weighted volatility.",
    ),
];

const FOREST: &[Key] = &[
    key("trees", Kind::Whole(1, 10_000), Some("100"), "Number of trees."),
    key("depth", Kind::Whole(1, 30), Some("10"), "Deepest level of a tree."),
    key("min_split", Kind::Whole(2, 1_000_000), Some("5"), "Fewest rows to split."),
    key("min_leaf", Kind::Whole(1, 1_000_000), Some("2"), "Fewest rows of a leaf."),
    key(
        "column_share",
        Kind::Number(0.01, 1.0),
        Some("0.3333333333333333"),
        "Share of columns tried at each split.",
    ),
];

const UNITS: Key =
    key("units", Kind::Wholes(1, 4_096), Some("[32]"), "Units of each layer, the first one first.");
const DROPOUT: Key =
    key("dropout", Kind::Number(0.0, 0.5), Some("0.0"), "Share of outputs dropped between layers.");
const OBJECTIVE: Key = key(
    "objective",
    Kind::OneOf(&["pinball", "squared", "classes"]),
    Some("\"pinball\""),
    "Nine quantiles by pinball loss, the mean by squared error, or classes of outcomes by \
     cross-entropy.",
);
const CLASSES: Key = key(
    "classes",
    Kind::Whole(2, 21),
    Some("2"),
    "With `objective = \"classes\"`: 2 for falls and rises, more for as many equally frequent \
     ranges of outcomes.",
);
const EPOCHS: Key =
    key("epochs", Kind::Whole(1, 1_000_000), Some("50"), "Passes over the training rows, at most.");
const BATCH: Key = key("batch", Kind::Whole(1, 1_000_000), Some("64"), "Rows of one step.");
const LEARNING_RATE: Key =
    key("learning_rate", Kind::Number(1e-9, 1.0), Some("0.001"), "Step size of Adam.");
const WEIGHT_DECAY: Key =
    key("weight_decay", Kind::Number(0.0, 1e6), Some("0.0"), "Decoupled weight decay (AdamW).");
const CLIP: Key =
    key("clip", Kind::Number(0.0, 1e9), Some("1.0"), "Largest norm of the gradient; 0 for none.");
const VALIDATION: Key = key(
    "validation",
    Kind::Number(0.0, 0.5),
    Some("0.15"),
    "Share of the training rows, the last ones, that decide when to stop.",
);
const PATIENCE: Key = key(
    "patience",
    Kind::Whole(0, 1_000_000),
    Some("5"),
    "Epochs without a better validation loss before training ends; 0 for never.",
);

const PLATEAU: Key = key(
    "plateau",
    Kind::Whole(0, 1_000_000),
    Some("3"),
    "Epochs without a better validation loss before the step size falls; 0 for never.",
);
const PLATEAU_FACTOR: Key = key(
    "plateau_factor",
    Kind::Number(1e-9, 1.0),
    Some("0.5"),
    "What the step size is multiplied by then.",
);

const DEVICE: Key = key(
    "device",
    Kind::OneOf(&["cpu", "cuda", "wgpu"]),
    Some("\"cpu\""),
    "Where it is trained: cuda and wgpu (Vulkan, Metal, Direct3D) are for large networks and \
     need a program built with the feature `gpu`; forecasts are computed on the processor.",
);

const fn activation(default: &'static str) -> Key {
    let doc = "What the layers pass through; relu is Keras' activation=\"relu\".";
    key("activation", Kind::OneOf(&["tanh", "relu"]), Some(default), doc)
}

const RECURRENT: &[Key] = &[
    UNITS,
    activation("\"tanh\""),
    DROPOUT,
    OBJECTIVE,
    CLASSES,
    EPOCHS,
    BATCH,
    LEARNING_RATE,
    WEIGHT_DECAY,
    CLIP,
    VALIDATION,
    PATIENCE,
    PLATEAU,
    PLATEAU_FACTOR,
    DEVICE,
];

const PERCEPTRON: &[Key] = &[
    UNITS,
    activation("\"relu\""),
    OBJECTIVE,
    CLASSES,
    EPOCHS,
    BATCH,
    LEARNING_RATE,
    WEIGHT_DECAY,
    CLIP,
    VALIDATION,
    PATIENCE,
    PLATEAU,
    PLATEAU_FACTOR,
    DEVICE,
];

const DECOMPOSITION: &[Key] = &[
    key("kernel", Kind::Whole(1, 1_000), Some("25"), "Steps of the moving average, the trend."),
    OBJECTIVE,
    CLASSES,
    EPOCHS,
    BATCH,
    LEARNING_RATE,
    WEIGHT_DECAY,
    CLIP,
    VALIDATION,
    PATIENCE,
    PLATEAU,
    PLATEAU_FACTOR,
    DEVICE,
];

const IMPORTED: &[Key] = &[key(
    "model",
    Kind::Text,
    None,
    "The file that `foretell import` wrote, relative to this pipeline file. Its columns must be \
     among those of [features]; it cannot be promoted on rows that it may have learnt from.",
)];

const BOOSTING: &[Key] = &[
    key("rounds", Kind::Whole(1, 100_000), Some("200"), "Boosting rounds."),
    key("depth", Kind::Whole(1, 16), Some("4"), "Deepest level of a tree."),
    key("eta", Kind::Number(0.0001, 1.0), Some("0.03"), "Learning rate."),
    key(
        "min_child_weight",
        Kind::Number(0.0, 1e9),
        Some("100.0"),
        "Smallest sum of hessians of a leaf; a row counts about 0.5.",
    ),
    key("subsample", Kind::Number(0.01, 1.0), Some("0.8"), "Share of rows drawn for each round."),
    key("column_sample", Kind::Number(0.01, 1.0), Some("0.5"), "Share of columns of each tree."),
    key("lambda", Kind::Number(0.0, 1e9), Some("1.0"), "Squared penalty on leaf values."),
    key("max_bin", Kind::Whole(2, 65_535), Some("64"), "Most bins of a column."),
];

const ETS: &[Key] = &[key(
    "trend",
    Kind::OneOf(&["auto", "none", "additive", "damped"]),
    Some("\"auto\""),
    "Which trend; that of the lowest AICc by default.",
)];

const ARIMA: &[Key] = &[key(
    "order",
    Kind::Wholes(0, 3),
    Some("[]"),
    "[p, 1, q] of the log price; p and q up to 3 of the lowest AICc when left out.",
)];

const GARCH: &[Key] = &[key(
    "distribution",
    Kind::OneOf(&["normal", "student_t"]),
    Some("\"normal\""),
    "What the likelihood takes the shocks for; quantiles come from the residuals.",
)];

const HAR: &[Key] = &[key(
    "weighted",
    Kind::Boolean,
    Some("true"),
    "Least squares weighted by the inverse square of a first fit, or plain.",
)];

/// How the settings of a model are searched for; `space` beside them has a range per setting.
pub const SEARCH: Table = Table {
    name: "models.search",
    repeated: false,
    optional: true,
    doc: "Searches for settings of the model above it, inside every fit.",
    keys: &[
        key(
            "sampler",
            Kind::OneOf(&["tpe", "random", "grid", "cma_es"]),
            Some("\"tpe\""),
            "How the next trial is chosen.",
        ),
        key(
            "pruner",
            Kind::OneOf(&["none", "median", "hyperband"]),
            Some("\"median\""),
            "What ends a trial before its last split.",
        ),
        key(
            "objective",
            Kind::OneOf(&["pinball", "mae"]),
            Some("\"pinball\""),
            "What trials are judged by: the mean pinball loss of nine quantiles, or the absolute \
             error of the median.",
        ),
        key("trials", Kind::Whole(1, 10_000), Some("50"), "Trials of a search, at most."),
        key(
            "time_budget",
            Kind::Interval,
            Some(""),
            "How long a search may begin new trials; `reproduce` repeats their number, not the time.",
        ),
        key(
            "splits",
            Kind::Whole(1, 50),
            Some("3"),
            "Parts of the training rows that trials are judged on, each after the rows before it.",
        ),
        key(
            "every",
            Kind::Whole(1, 1_000_000),
            Some("1"),
            "Folds from one search to the next; those in between use what was found before them.",
        ),
        key(
            "batch",
            Kind::Whole(1, 64),
            Some("1"),
            "Trials that are chosen before any of them has ended, and run side by side; part of \
             what decides the result.",
        ),
        key("points", Kind::Whole(2, 1_000), Some("5"), "Points per number of a grid."),
    ],
    kinds: &[],
};

/// What `space` of a search is.
pub(in crate::pipeline) const SPACE_DOC: &str = "A range per setting of the model: [low, high], { from = low, to = high, log = true } or \
     { one_of = [a, b] }.";

const MEMBERS: Key = key(
    "members",
    Kind::Texts,
    None,
    "Names of two or more other models of this file, none of them an ensemble.",
);

const STACKING: &[Key] = &[
    MEMBERS,
    key(
        "inner_folds",
        Kind::Whole(1, 20),
        Some("3"),
        "Blocks of the second half of the training rows that are forecast to learn the weights.",
    ),
];
