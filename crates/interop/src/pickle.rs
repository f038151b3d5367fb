//! Pickles read as data: the stack machine of Python's `pickletools` (protocols 0 to 5)
//! without the instructions that run something.
//!
//! A pickle names functions and classes and calls them. Here a name is looked up in a closed
//! list ([`known`]) whose entries build plain values; a name outside it, and every
//! instruction that is for nothing but calling (`INST`, `OBJ`, `EXT`), is refused with its
//! place before anything else is read. Memory is bounded by the file: every instruction makes
//! at most one value, values share their parts, and what is copied from one value to another
//! is counted.

mod known;
mod value;

use std::collections::BTreeMap;

use crate::InteropError;
use crate::error::{damaged, shown};

pub use value::{Array, Id, Node, Values};

use known::Known;

const WHAT: &str = "pickle";
/// The most bytes of a pickle; weights of a PyTorch archive stand outside it.
const MOST_BYTES: usize = 512 << 20;
/// The most values; every one takes some eighty bytes here and one or more in the file.
const MOST_VALUES: usize = 1_000_000;

/// Where a pickle comes from, which decides what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `data.pkl` of a PyTorch archive: tensors refer to the archive's other files.
    Torch,
    /// A file of `joblib.dump` or `pickle.dump`: arrays stand inside.
    Joblib,
}

impl Origin {
    fn remedy(self) -> &'static str {
        match self {
            Self::Torch => "with `torch.save(model.state_dict(), path)`, which holds weights alone",
            Self::Joblib => "with `joblib.dump(scaler, path, compress=0)`",
        }
    }

    fn holds(self) -> &'static str {
        match self {
            Self::Torch => {
                "save the weights alone: `torch.save(model.state_dict(), path)` in Python"
            }
            Self::Joblib => {
                "only scikit-learn's StandardScaler and MinMaxScaler are read: save one of these"
            }
        }
    }
}

/// Reads a pickle.
///
/// # Errors
/// [`InteropError::Runs`] when it names what is not data, [`InteropError::Instruction`] when
/// it would call something, [`InteropError::Damaged`] when it is cut off or does not hold
/// together.
pub fn read(bytes: &[u8], origin: Origin) -> Result<Values, InteropError> {
    if bytes.len() > MOST_BYTES {
        return Err(InteropError::TooLarge {
            what: WHAT,
            found: format!("{} bytes", bytes.len()),
            most: format!("{MOST_BYTES} bytes"),
            remedy: "models of that size have no use here",
        });
    }
    let mut machine = Machine {
        bytes,
        at: 0,
        origin,
        values: Values::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
        copied: 0,
    };
    machine.run()
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    origin: Origin,
    values: Values,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
    /// Bytes that were copied from one value to another.
    copied: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Values, InteropError> {
        loop {
            let at = self.at;
            let code = self.take(1)?[0];
            if code == b'.' {
                let top = self.pop()?;
                let mut values = std::mem::take(&mut self.values);
                values.top = Some(top);
                return Ok(values);
            }
            self.step(code, at)?;
            if self.values.len() > MOST_VALUES {
                return Err(InteropError::TooLarge {
                    what: WHAT,
                    found: format!("over {MOST_VALUES} values"),
                    most: format!("{MOST_VALUES}"),
                    remedy: "models of that size have no use here",
                });
            }
        }
    }

    fn bad(&self, message: &str) -> InteropError {
        damaged(WHAT, format!("byte {}", self.at), message)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], InteropError> {
        let end = self.at.checked_add(count);
        let Some(taken) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return Err(self.bad("the file is cut off"));
        };
        self.at += count;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], InteropError> {
        let taken = self.take(N)?;
        Ok(*taken.first_chunk::<N>().expect("as many were taken"))
    }

    /// Some bytes behind their own length of 1, 4 or 8 bytes.
    fn counted(&mut self, width: usize) -> Result<&'a [u8], InteropError> {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.take(width)?);
        let count = usize::try_from(u64::from_le_bytes(wide));
        self.take(count.map_err(|_| self.bad("a length is too large"))?)
    }

    /// A line of the text protocol, without its end.
    fn line(&mut self) -> Result<&'a str, InteropError> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|b| *b == b'\n') else {
            return Err(self.bad("the file is cut off"));
        };
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| self.bad("a line is not text"))
    }

    fn text(&self, bytes: &[u8]) -> Result<Node, InteropError> {
        let text = std::str::from_utf8(bytes).map_err(|_| self.bad("a text is not UTF-8"))?;
        Ok(Node::Text(text.to_owned()))
    }

    fn push(&mut self, node: Node) {
        let id = self.values.add(node);
        self.stack.push(id);
    }

    fn pop(&mut self) -> Result<Id, InteropError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn top(&self) -> Result<Id, InteropError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.last().filter(|_| self.stack.len() > floor);
        top.copied().ok_or_else(|| self.bad("a value is missing on the stack"))
    }

    /// What was pushed since the last mark.
    fn marked(&mut self) -> Result<Vec<Id>, InteropError> {
        let mark = self.marks.pop().ok_or_else(|| self.bad("a mark is missing on the stack"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn tuple(&mut self, count: usize) -> Result<(), InteropError> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn memorise(&mut self, place: u32) -> Result<(), InteropError> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), InteropError> {
        let found = self.memo.get(&place).copied();
        self.stack.push(found.ok_or_else(|| self.bad("it refers to what was never kept"))?);
        Ok(())
    }

    fn place(&mut self) -> Result<u32, InteropError> {
        let line = self.line()?;
        line.trim().parse().map_err(|_| self.bad("a place is no number"))
    }

    fn whole(&mut self, text: &str) -> Result<(), InteropError> {
        let number = text.trim().trim_end_matches('L').parse();
        self.push(Node::Int(number.map_err(|_| self.bad("a number cannot be read"))?));
        Ok(())
    }

    /// An integer of many bytes; more than eight hold no number that is needed.
    fn long(&mut self, bytes: &[u8]) -> Result<(), InteropError> {
        if bytes.len() > 8 {
            return Err(self.bad("a whole number has more than 64 bits"));
        }
        let negative = bytes.last().is_some_and(|b| b >> 7 == 1);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    /// One instruction but the last.
    fn step(&mut self, code: u8, at: usize) -> Result<(), InteropError> {
        match code {
            // PROTO
            0x80 => match self.take(1)?[0] {
                0..=5 => {}
                newer => return Err(self.bad(&format!("protocol {newer} is newer than 5"))),
            },
            // FRAME: the bytes of a frame follow as if it were not there.
            0x95 => {
                self.take(8)?;
            }
            b'0' => {
                // POP of a mark takes the mark.
                if self.pop().is_err() && self.marks.pop().is_none() {
                    return Err(self.bad("a value is missing on the stack"));
                }
            }
            b'1' => {
                self.marked()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'I' => match self.line()? {
                "00" => self.push(Node::Bool(false)),
                "01" => self.push(Node::Bool(true)),
                text => self.whole(text)?,
            },
            b'L' => {
                let text = self.line()?;
                self.whole(text)?;
            }
            b'J' => {
                let number = i32::from_le_bytes(self.fixed()?);
                self.push(Node::Int(number.into()));
            }
            b'K' => {
                let number = self.take(1)?[0];
                self.push(Node::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.fixed()?);
                self.push(Node::Int(number.into()));
            }
            0x8a => {
                let bytes = self.counted(1)?;
                self.long(bytes)?;
            }
            0x8b => {
                let bytes = self.counted(4)?;
                self.long(bytes)?;
            }
            b'F' => {
                let number = self.line()?.trim().parse();
                self.push(Node::Float(number.map_err(|_| self.bad("a number cannot be read"))?));
            }
            b'G' => {
                let number = f64::from_be_bytes(self.fixed()?);
                self.push(Node::Float(number));
            }
            b'S' | b'V' => {
                let line = self.line()?;
                let quoted = |q: char| line.strip_prefix(q).and_then(|l| l.strip_suffix(q));
                let plain = if code == b'V' { Some(line) } else { quoted('\'').or(quoted('"')) };
                // Escapes are for text that names and numbers do not have.
                match plain.filter(|t| !t.contains('\\')) {
                    Some(text) => self.push(Node::Text(text.to_owned())),
                    None => return Err(self.bad("a text has escapes or no quotes")),
                }
            }
            b'T' | b'U' | b'X' | 0x8c | 0x8d => {
                let width = match code {
                    b'U' | 0x8c => 1,
                    0x8d => 8,
                    _ => 4,
                };
                let bytes = self.counted(width)?;
                let text = match code {
                    // Python 2's strings are bytes.
                    b'T' | b'U' => Node::Bytes(bytes.to_vec()),
                    _ => self.text(bytes)?,
                };
                self.push(text);
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let width = match code {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                };
                let bytes = self.counted(width)?.to_vec();
                self.push(Node::Bytes(bytes));
            }
            b')' => self.push(Node::Tuple(Vec::new())),
            b't' => {
                let items = self.marked()?;
                self.push(Node::Tuple(items));
            }
            0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
            b']' => self.push(Node::List(Vec::new())),
            b'l' => {
                let items = self.marked()?;
                self.push(Node::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' => {
                let items = self.marked()?;
                self.extend(items)?;
            }
            b'}' => self.push(Node::Dict(Vec::new())),
            b'd' => {
                let items = self.marked()?;
                self.push(Node::Dict(Vec::new()));
                self.set(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.marked()?;
                self.set(&items)?;
            }
            b'p' => {
                let place = self.place()?;
                self.memorise(place)?;
            }
            b'q' => {
                let place = self.take(1)?[0];
                self.memorise(place.into())?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.fixed()?);
                self.memorise(place)?;
            }
            0x94 => self.memorise(self.memo.len() as u32)?,
            b'g' => {
                let place = self.place()?;
                self.recall(place)?;
            }
            b'h' => {
                let place = self.take(1)?[0];
                self.recall(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.fixed()?);
                self.recall(place)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.name(module, name, at)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| self.values.text(id).map(str::to_owned);
                let (Some(module), Some(name)) = (text(module), text(name)) else {
                    return Err(self.bad("a name is no text"));
                };
                self.name(&module, &name, at)?;
            }
            b'R' => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.build(callee, arguments, at)?;
            }
            0x81 => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.build(class, arguments, at)?;
            }
            0x92 => {
                let named = self.pop()?;
                let (arguments, class) = (self.pop()?, self.pop()?);
                if self.values.pairs(named).is_none_or(|pairs| !pairs.is_empty()) {
                    return Err(self.bad("an object is made with named arguments"));
                }
                self.build(class, arguments, at)?;
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                self.fill(object, state, at)?;
            }
            b'Q' if self.origin == Origin::Torch => {
                let key = self.pop()?;
                let storage = known::storage(&self.values, key)
                    .ok_or_else(|| self.bad("a reference is no storage of this archive"))?;
                self.push(storage);
            }
            other => {
                let code = known::instruction(other);
                return Err(InteropError::Instruction { code, at, remedy: self.origin.remedy() });
            }
        }
        Ok(())
    }

    /// Puts a name of the closed list on the stack.
    fn name(&mut self, module: &str, name: &str, at: usize) -> Result<(), InteropError> {
        let known = Known::of(module, name, self.origin).ok_or_else(|| InteropError::Runs {
            name: shown(&format!("{module}.{name}")).chars().take(160).collect(),
            at,
            remedy: self.origin.holds(),
        })?;
        self.push(Node::Known(known));
        Ok(())
    }

    /// What Python would make by calling a name with arguments: here a plain value.
    fn build(&mut self, callee: Id, arguments: Id, at: usize) -> Result<(), InteropError> {
        let Node::Known(known) = self.values.node(callee) else {
            return Err(InteropError::Runs {
                name: "a value instead of a name".to_owned(),
                at,
                remedy: self.origin.holds(),
            });
        };
        let known = *known;
        let arguments = self.values.tuple(arguments);
        let Some(arguments) = arguments.filter(|a| a.len() <= 8).map(<[Id]>::to_vec) else {
            return Err(self.bad("arguments are no tuple, or too many"));
        };
        let made = known.make(&self.values, &arguments);
        match made
            .ok_or_else(|| self.bad(&format!("`{known:?}` with other arguments than its own")))?
        {
            known::Made::New(node) => {
                self.count(&node)?;
                self.push(node);
            }
            known::Made::Old(id) => self.stack.push(id),
        }
        Ok(())
    }

    /// Counts what a value copied, so that a short file never becomes a large one.
    fn count(&mut self, node: &Node) -> Result<(), InteropError> {
        self.copied += match node {
            Node::Bytes(bytes) => bytes.len(),
            Node::Array(array) => array.data.len(),
            _ => 0,
        };
        match self.copied <= 2 * self.bytes.len() {
            true => Ok(()),
            false => Err(self.bad("the same bytes are copied again and again")),
        }
    }

    /// Gives an object its state; behind the state of a joblib array come its numbers.
    fn fill(&mut self, object: Id, state: Id, at: usize) -> Result<(), InteropError> {
        match self.values.node(object) {
            Node::Object { state: None, known } => {
                let known = *known;
                if self.values.pairs(state).is_none() {
                    return Err(self.bad("the state of an object is no table"));
                }
                *self.values.node_mut(object) = Node::Object { known, state: Some(state) };
                if known == Known::NumpyArrayWrapper {
                    let array = self.array_behind(state)?;
                    self.pop()?;
                    // Whoever remembers the wrapper means the array.
                    *self.values.node_mut(object) = Node::Array(array);
                    self.stack.push(object);
                }
            }
            Node::Dtype { .. } | Node::Array(_) => {
                let filled = known::filled(&self.values, object, state);
                let filled =
                    filled.ok_or_else(|| self.bad("the state of an array cannot be read"))?;
                self.count(&filled)?;
                *self.values.node_mut(object) = filled;
            }
            // PyTorch notes the versions of its modules there.
            Node::Dict(_) if self.values.pairs(state).is_some() => {}
            _ => {
                let (name, remedy) = ("a state for what has none".to_owned(), self.origin.holds());
                return Err(InteropError::Runs { name, at, remedy });
            }
        }
        Ok(())
    }

    /// The numbers of a joblib array, which stand in the file behind its description.
    fn array_behind(&mut self, state: Id) -> Result<Array, InteropError> {
        let Some((dtype, big_endian, shape, aligned)) = known::wrapper(&self.values, state) else {
            return Err(self.bad("an array is of objects, or its description cannot be read"));
        };
        if aligned {
            let padding = self.take(1)?[0];
            self.take(padding.into())?;
        }
        let count = shape.iter().try_fold(dtype.size(), |n, length| n.checked_mul(*length));
        let count = count.ok_or_else(|| self.bad("an array is too large"))?;
        let data = self.take(count)?.to_vec();
        Ok(Array { dtype, big_endian, shape, data })
    }

    fn extend(&mut self, items: Vec<Id>) -> Result<(), InteropError> {
        let top = self.top()?;
        match self.values.node_mut(top) {
            Node::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(self.bad("items for what is no list")),
        }
    }

    fn set(&mut self, items: &[Id]) -> Result<(), InteropError> {
        let top = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match self.values.node_mut(top) {
            Node::Dict(table) if rest.is_empty() => {
                table.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => Err(self.bad("entries for what is no table")),
        }
    }
}

#[cfg(test)]
mod tests;
