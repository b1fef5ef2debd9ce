//! The stack machine of Python's pickle, protocols 2 to 5, over a fixed set of values.
//!
//! Opcodes as in CPython's `Lib/pickletools.py`. Every name the program refers to must be a
//! [`Global`]; calling one builds data and nothing else. A program is at most as long as its file,
//! every read is bounds-checked, values are stored once.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::{ModelError, Result};
use crate::tensor::pickle::globals::Global;
use crate::tensor::pickle::value::{StorageRecord, TensorRecord, Value};
use crate::tensor::strided::malformed;

const FORMAT: &str = "pickle";
/// Axes a tensor may have, as in PyTorch.
const MAX_AXES: usize = 64;

/// The state of one program: all values ever made, the stack of their numbers, the memo, the
/// storages met.
pub(super) struct Machine<'a> {
    path: &'a Path,
    program: &'a [u8],
    position: usize,
    values: Vec<Value>,
    stack: Vec<usize>,
    marks: Vec<usize>,
    memo: HashMap<usize, usize>,
    storages: Vec<StorageRecord>,
    storage_of_key: HashMap<String, usize>,
    /// Items copied from one container into another, bounded so that a small file cannot ask for
    /// much memory.
    copied: usize,
}

impl<'a> Machine<'a> {
    /// Runs the program at the start of `program`: the machine, the number of the result, and the
    /// bytes consumed.
    pub(super) fn run(path: &'a Path, program: &'a [u8]) -> Result<(Self, usize, usize)> {
        let mut machine = Machine {
            path,
            program,
            position: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            storages: Vec::new(),
            storage_of_key: HashMap::new(),
            copied: 0,
        };
        loop {
            let opcode = machine.byte()?;
            if opcode == b'.' {
                let root = machine.pop()?;
                let consumed = machine.position;
                return Ok((machine, root, consumed));
            }
            machine.step(opcode)?;
        }
    }

    /// A value by its number.
    pub(super) fn value(&self, number: usize) -> &Value {
        &self.values[number]
    }

    /// The value of a dictionary's text key.
    pub(super) fn entry(&self, dictionary: usize, key: &str) -> Option<&Value> {
        let Value::Dictionary(entries) = self.value(dictionary) else { return None };
        let matches = |number: usize| matches!(self.value(number), Value::Text(text) if text == key);
        entries.iter().find(|(name, _)| matches(*name)).map(|(_, value)| self.value(*value))
    }

    /// The storages the tensors refer to, in order of first use.
    pub(super) fn storages(&self) -> &[StorageRecord] {
        &self.storages
    }

    /// The tensors below a value with their dotted paths; a container reached twice counts where it
    /// is met first.
    pub(super) fn tensors(&self, root: usize) -> Vec<(String, &TensorRecord)> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut pending = vec![(String::new(), root)];
        while let Some((name, number)) = pending.pop() {
            let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
            let mut children = Vec::new();
            match self.value(number) {
                Value::Tensor(record) => found.push((name, record)),
                Value::Dictionary(entries) if seen.insert(number) => {
                    for &(key, value) in entries {
                        match self.value(key) {
                            Value::Text(key) => children.push((below(key), value)),
                            Value::Integer(key) => children.push((below(&key.to_string()), value)),
                            _ => {}
                        }
                    }
                }
                Value::List(items) | Value::Tuple(items) if seen.insert(number) => {
                    children.extend(items.iter().enumerate().map(|(index, &item)| (below(&index.to_string()), item)));
                }
                _ => {}
            }
            pending.extend(children.into_iter().rev());
        }
        found
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => match self.byte()? {
                0..=5 => Ok(()),
                version => Err(self.fault(format!("protocol {version} is not known"))),
            },
            // FRAME announces a length that matters to buffered readers only.
            0x95 => self.take(8).map(|_| ()),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Boolean(true)),
            0x89 => self.push(Value::Boolean(false)),
            b'J' | b'K' | b'M' | 0x8a | 0x8b => self.integer(opcode),
            b'X' | 0x8c | 0x8d | b'U' | b'T' => self.text(opcode),
            b'G' => {
                self.take(8)?;
                self.push(Value::Inert)
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let length = self.length(match opcode {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                self.take(length)?;
                self.push(Value::Inert)
            }
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => {
                let at = self.below_top(usize::from(opcode - 0x84))?;
                let items = self.stack.split_off(at);
                self.push(Value::Tuple(items))
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))
            }
            b']' => self.push(Value::List(Vec::new())),
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))
            }
            b'}' => self.push(Value::Dictionary(Vec::new())),
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Value::Dictionary(pairs(&items)))
            }
            // A set holds no tensors: its items are dropped.
            0x8f => self.push(Value::Inert),
            0x90 => self.pop_mark().map(|_| ()),
            0x91 => {
                self.pop_mark()?;
                self.push(Value::Inert)
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)
            }
            b's' => {
                let at = self.below_top(2)?;
                let items = self.stack.split_off(at);
                self.set(&items)
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(&items)
            }
            b'q' => self.memoise(1),
            b'r' => self.memoise(4),
            0x94 => {
                let top = self.top()?;
                self.memo.insert(self.memo.len(), top);
                Ok(())
            }
            b'h' => self.recall(1),
            b'j' => self.recall(4),
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(&module, &name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.value(module).clone(), self.value(name).clone()) {
                    (Value::Text(module), Value::Text(name)) => self.global(&module, &name),
                    _ => Err(self.fault("a global has no name")),
                }
            }
            b'Q' => self.persistent(),
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.call(callee, arguments)
            }
            0x92 => {
                let (_keywords, arguments, callee) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callee, arguments)
            }
            // BUILD sets attributes of the object below: of an `OrderedDict` its bookkeeping, of
            // settings their fields.
            b'b' => self.pop().map(|_| ()),
            other => Err(self.fault(format!("opcode 0x{other:02x} is not part of a checkpoint"))),
        }
    }

    fn integer(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b'J' => i128::from(i32::from_le_bytes(self.array()?)),
            b'K' => i128::from(self.byte()?),
            b'M' => i128::from(u16::from_le_bytes(self.array()?)),
            _ => {
                let length = self.length(if opcode == 0x8a { 1 } else { 4 })?;
                let bytes = self.take(length)?;
                if length > 16 {
                    return Err(self.fault("an integer has more than 128 bits"));
                }
                let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
                let mut wide = [sign; 16];
                wide[..length].copy_from_slice(bytes);
                i128::from_le_bytes(wide)
            }
        };
        self.push(Value::Integer(value))
    }

    fn text(&mut self, opcode: u8) -> Result<()> {
        let length = self.length(match opcode {
            0x8c | b'U' => 1,
            b'X' | b'T' => 4,
            _ => 8,
        })?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Value::Text(text))
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let global = Global::find(module, name).ok_or_else(|| ModelError::ForbiddenGlobal {
            path: self.path.to_path_buf(),
            global: format!("{module}.{name}"),
        })?;
        self.push(Value::Global(global))
    }

    /// `("storage", type, key, device, elements, view?)` becomes a storage.
    fn persistent(&mut self) -> Result<()> {
        let number = self.pop()?;
        let fields = self.items(number)?;
        let [kind, element, key, _device, elements, view @ ..] = fields.as_slice() else {
            return Err(self.fault("a storage has too few fields"));
        };
        let values = (self.value(*kind), self.value(*element), self.value(*key), self.value(*elements));
        let (Value::Text(kind), Value::Global(Global::Storage(dtype)), Value::Text(key), Value::Integer(elements)) =
            values
        else {
            return Err(self.fault("a storage is not described as PyTorch does"));
        };
        if kind != "storage" || view.iter().any(|&view| !matches!(self.value(view), Value::None)) {
            return Err(self.fault("a storage is a view of another one, as only PyTorch before 0.4 wrote them"));
        }
        let (dtype, key) = (*dtype, key.clone());
        let elements = usize::try_from(*elements).map_err(|_| self.fault("a storage has a negative size"))?;
        let index = match self.storage_of_key.get(&key) {
            Some(&index) if self.storages[index].dtype == dtype && self.storages[index].elements == elements => index,
            Some(_) => return Err(self.fault(format!("storage `{key}` is described in two ways"))),
            None => {
                self.storages.push(StorageRecord { key: key.clone(), dtype, elements });
                self.storage_of_key.insert(key, self.storages.len() - 1);
                self.storages.len() - 1
            }
        };
        self.push(Value::Storage(index))
    }

    fn call(&mut self, callee: usize, arguments: usize) -> Result<()> {
        let Value::Global(global) = *self.value(callee) else {
            return Err(self.fault("something that is not a name is called"));
        };
        let arguments = self.items(arguments)?;
        let made = match global {
            Global::Dictionary => Value::Dictionary(self.dictionary(&arguments)?),
            Global::Sequence => Value::Tuple(arguments.first().map_or(Ok(Vec::new()), |&inner| self.items(inner))?),
            Global::RebuildTensor => Value::Tensor(self.tensor(&arguments)?),
            Global::RebuildParameter => match arguments.first().map(|&inner| self.value(inner).clone()) {
                Some(Value::Tensor(record)) => Value::Tensor(record),
                _ => return Err(self.fault("a parameter has no tensor")),
            },
            Global::Storage(_) => return Err(self.fault("a storage is made outside the file's own storages")),
            Global::Inert => Value::Inert,
        };
        self.copied += match &made {
            Value::Dictionary(entries) => entries.len(),
            Value::Tuple(items) => items.len(),
            _ => 0,
        };
        if self.copied > self.program.len() {
            return Err(self.fault("it copies the same items over and over"));
        }
        self.push(made)
    }

    /// The entries of `OrderedDict(...)`: from nothing, a dictionary, or a list of pairs.
    fn dictionary(&self, arguments: &[usize]) -> Result<Vec<(usize, usize)>> {
        // `defaultdict(factory)` has a name as its first argument.
        let source = arguments.iter().find(|&&number| !matches!(self.value(number), Value::Global(_) | Value::None));
        match source.map(|&number| self.value(number)) {
            None => Ok(Vec::new()),
            Some(Value::Dictionary(entries)) => Ok(entries.clone()),
            Some(Value::List(items) | Value::Tuple(items)) => items
                .iter()
                .map(|&item| match self.items(item)?.as_slice() {
                    &[key, value] => Ok((key, value)),
                    _ => Err(self.fault("a dictionary is made from something else than pairs")),
                })
                .collect(),
            Some(_) => Err(self.fault("a dictionary is made from something else than pairs")),
        }
    }

    fn tensor(&self, arguments: &[usize]) -> Result<TensorRecord> {
        let &[storage, offset, shape, strides, ..] = arguments else {
            return Err(self.fault("a tensor has too few fields"));
        };
        let (Value::Storage(storage), Value::Integer(offset)) = (self.value(storage), self.value(offset)) else {
            return Err(self.fault("a tensor has no storage"));
        };
        let sizes = |number: usize| -> Result<Vec<usize>> {
            let size = |item: usize| match self.value(item) {
                Value::Integer(size) => usize::try_from(*size).ok(),
                _ => None,
            };
            let items = self.items(number)?;
            let sizes: Option<Vec<usize>> = items.into_iter().take(MAX_AXES + 1).map(size).collect();
            sizes.ok_or_else(|| self.fault("a tensor has an impossible shape"))
        };
        let (shape, strides) = (sizes(shape)?, sizes(strides)?);
        if shape.len() != strides.len() || shape.len() > MAX_AXES {
            return Err(self.fault("a tensor has more or fewer strides than axes, or too many of them"));
        }
        let offset = usize::try_from(*offset).map_err(|_| self.fault("a tensor has a negative offset"))?;
        Ok(TensorRecord { storage: *storage, dtype: self.storages[*storage].dtype, offset, shape, strides })
    }

    fn append(&mut self, items: &[usize]) -> Result<()> {
        let target = self.top()?;
        match &mut self.values[target] {
            Value::List(list) => list.extend_from_slice(items),
            Value::Inert => {}
            _ => return Err(self.fault("items are appended to something else than a list")),
        }
        Ok(())
    }

    fn set(&mut self, items: &[usize]) -> Result<()> {
        if !items.len().is_multiple_of(2) {
            return Err(self.fault("a dictionary gets a key without a value"));
        }
        let target = self.top()?;
        match &mut self.values[target] {
            Value::Dictionary(entries) => entries.extend(pairs(items)),
            Value::Inert => {}
            _ => return Err(self.fault("entries are set in something else than a dictionary")),
        }
        Ok(())
    }

    fn items(&self, number: usize) -> Result<Vec<usize>> {
        match self.value(number) {
            Value::Tuple(items) | Value::List(items) => Ok(items.clone()),
            _ => Err(self.fault("a sequence is expected")),
        }
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
        Ok(())
    }

    /// Where the uppermost `count` values above the last mark start.
    fn below_top(&self, count: usize) -> Result<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let at = self.stack.len().checked_sub(count).filter(|&at| at >= floor);
        at.ok_or_else(|| self.fault("the stack is empty"))
    }

    fn top(&self) -> Result<usize> {
        self.below_top(1).map(|at| self.stack[at])
    }

    fn pop(&mut self) -> Result<usize> {
        let at = self.below_top(1)?;
        let number = self.stack[at];
        self.stack.truncate(at);
        Ok(number)
    }

    fn pop_mark(&mut self) -> Result<Vec<usize>> {
        let at = self.marks.pop().ok_or_else(|| self.fault("a mark is missing"))?;
        Ok(self.stack.split_off(at))
    }

    fn memoise(&mut self, width: usize) -> Result<()> {
        let slot = self.length(width)?;
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<()> {
        let slot = self.length(width)?;
        let number = *self.memo.get(&slot).ok_or_else(|| self.fault(format!("memo slot {slot} is empty")))?;
        self.stack.push(number);
        Ok(())
    }

    /// An unsigned little-endian number of `width` bytes.
    fn length(&mut self, width: usize) -> Result<usize> {
        let mut wide = [0u8; 8];
        wide[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| self.fault("a length is too large"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0u8; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn line(&mut self) -> Result<String> {
        let rest = &self.program[self.position..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| self.fault("it ends within a name"))?;
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.position += end + 1;
        Ok(text)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.position.checked_add(count).filter(|&end| end <= self.program.len());
        let end = end.ok_or_else(|| self.fault("the file ends within it"))?;
        let bytes = &self.program[self.position..end];
        self.position = end;
        Ok(bytes)
    }

    fn fault(&self, reason: impl Into<String>) -> crate::error::Error {
        malformed(self.path, FORMAT, format!("{} (at byte {})", reason.into(), self.position))
    }
}

fn pairs(items: &[usize]) -> Vec<(usize, usize)> {
    items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}
