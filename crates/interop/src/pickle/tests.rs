//! Pickles that try to run something, that are cut off, or that grow.

use super::*;

fn refused(bytes: &[u8]) -> String {
    read(bytes, Origin::Joblib).unwrap_err().to_string()
}

/// What `pickle.loads` would run, in every way a pickle has to name a function.
#[test]
fn nothing_is_run_whatever_the_way_it_is_named() {
    let ways: [(&[u8], &str); 10] = [
        (b"cos\nsystem\n(S'echo'\ntR.", "`os.system` (byte 0)"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "`__builtin__.eval` (byte 0)"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "`os.system` (byte 14)"),
        // The names are kept and called back.
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94000000h\x00h\x01\x93.", "missing on the stack"),
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x9400h\x00h\x01\x93.", "`os.system` (byte 22)"),
        // A known name with the name of another module's member behind it.
        (b"ccollections\nOrderedDict.os.system\n.", "`collections.OrderedDict.os.system`"),
        (b"\x80\x02cposix\nsystem\n.", "`posix.system`"),
        (b"cbuiltins\ngetattr\n.", "`builtins.getattr`"),
        (b"cnumpy\nload\n.", "`numpy.load`"),
        (b"cjoblib.numpy_pickle\nload\n.", "`joblib.numpy_pickle.load`"),
    ];
    for (bytes, says) in ways {
        let error = refused(bytes);
        assert!(error.contains(says), "{says}: {error}");
    }
    for (bytes, code) in [
        (&b"(S'echo'\nios\nsystem\n."[..], "INST"),
        (b"(ccollections\nOrderedDict\no.", "OBJ"),
        (b"\x82\x01.", "EXT"),
        (b"\x80\x05\x97.", "BUFFER"),
        (b"P1\n.", "PERSID"),
        (b"\xff.", "0xff"),
    ] {
        let error = refused(bytes);
        assert!(error.contains(code) && error.contains("nothing was run"), "{code}: {error}");
    }
    // A control character of a name does not reach the terminal.
    assert!(!refused(b"cos\x1b[31m\nsystem\n.").contains('\u{1b}'));
}

#[test]
fn what_is_known_is_only_called_with_its_own_arguments() {
    for bytes in [
        // OrderedDict of something.
        &b"ccollections\nOrderedDict\n(S'x'\ntR."[..],
        // A constructor's state that would be another function's result.
        b"ccopyreg\n_reconstructor\n(ccopyreg\n_reconstructor\ncbuiltins\nobject\nNtR.",
        b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\ncbuiltins\nobject\nNtR.",
        b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.",
        b"cnumpy\ndtype\n(S'O'\ntR.",
        b"cnumpy\nndarray\n)R.",
        // A scaler with arguments, and one whose state is no table.
        b"csklearn.preprocessing._data\nStandardScaler\n(S'x'\nt\x81.",
        b"csklearn.preprocessing._data\nStandardScaler\n)\x81Nb.",
    ] {
        let error = refused(bytes);
        assert!(error.contains("damaged"), "{error}");
    }
    assert!(refused(b"N)R.").contains("a value instead of a name"));
    assert!(refused(b"NNb.").contains("a state for what has none"));
}

/// Each origin has its own list.
#[test]
fn a_name_is_known_only_where_it_belongs() {
    assert!(refused(b"ctorch\nFloatStorage\n.").contains("`torch.FloatStorage`"));
    let scaler = b"csklearn.preprocessing._data\nStandardScaler\n.";
    let error = read(scaler, Origin::Torch).unwrap_err().to_string();
    assert!(error.contains("torch.save(model.state_dict(), path)"), "{error}");
}

#[test]
fn plain_values_are_read_in_every_protocol() {
    // {'a': [1, True, None], 'b': (2.5, -3)} by pickle.dumps of protocols 0, 2 and 4.
    let written: [&[u8]; 3] = [
        b"(dp0\nVa\np1\n(lp2\nI1\naI01\naNasVb\np3\n(F2.5\nI-3\ntp4\ns.",
        b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01\x88NeX\x01\x00\x00\x00bq\x03G@\x04\x00\x00\x00\x00\x00\x00J\xfd\xff\xff\xff\x86q\x04u.",
        b"\x80\x04\x95!\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01\x88Ne\x8c\x01b\x94G@\x04\x00\x00\x00\x00\x00\x00J\xfd\xff\xff\xff\x86\x94u.",
    ];
    for bytes in written {
        let values = read(bytes, Origin::Joblib).unwrap();
        let a = values.entry(values.top(), "a").unwrap();
        let Node::List(items) = values.node(a) else { panic!("a list") };
        assert_eq!(values.size(items[0]), Some(1));
        assert_eq!(
            (values.node(items[1]), values.node(items[2])),
            (&Node::Bool(true), &Node::None)
        );
        let b = values.tuple(values.entry(values.top(), "b").unwrap()).unwrap();
        assert_eq!((values.node(b[0]), values.node(b[1])), (&Node::Float(2.5), &Node::Int(-3)));
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut], Origin::Joblib).is_err(), "cut at {cut}");
        }
    }
    // A list that holds itself is a value like another.
    assert!(read(b"]q\x00h\x00a.", Origin::Joblib).is_ok());
}

#[test]
fn a_short_file_never_becomes_a_large_one() {
    // One text, encoded ten thousand times.
    let text = [b"X".as_slice(), &100_000u32.to_le_bytes(), &[b'a'; 100_000]].concat();
    let once = b"c_codecs\nencode\nq\x00X\x06\x00\x00\x00latin1q\x01";
    let mut bytes = [once.as_slice(), &text, b"q\x02"].concat();
    for _ in 0..10_000 {
        bytes.extend_from_slice(b"h\x00h\x02h\x01\x86R");
    }
    assert!(refused(&bytes).contains("again and again"));
    // One name of a storage, referred to four thousand times.
    let key = [b"X".as_slice(), &1_000_000u32.to_le_bytes(), &[b'k'; 1_000_000]].concat();
    let mut bytes =
        [b"X\x07\x00\x00\x00storageq\x000ctorch\nFloatStorage\nq\x010".as_slice(), &key, b"q\x02"]
            .concat();
    for _ in 0..4_000 {
        bytes.extend_from_slice(b"0(h\x00h\x01h\x02NK\x01tQ");
    }
    bytes.push(b'.');
    let error = read(&bytes, Origin::Torch).unwrap_err().to_string();
    assert!(error.contains("no storage of this archive"), "{error}");
    // Lengths that the file does not have.
    for bytes in [
        [b"B".as_slice(), &u32::MAX.to_le_bytes()].concat(),
        [b"\x8e".as_slice(), &u64::MAX.to_le_bytes()].concat(),
        b"\x8a\x09123456789.".to_vec(),
    ] {
        assert!(refused(&bytes).contains("damaged"));
    }
    let many = vec![b'N'; MOST_VALUES + 2];
    assert!(refused(&many).contains("values"));
    assert!(refused(b"\x80\x06.").contains("newer than 5"));
    for bytes in [&b"0."[..], b"a.", b"e.", b"s.", b"u.", b"t.", b"R.", b"b.", b"h\x07.", b"(a."] {
        assert!(refused(bytes).contains("damaged"), "{bytes:?}");
    }
}
