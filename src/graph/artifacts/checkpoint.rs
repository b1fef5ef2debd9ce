//! The checkpoint of ONNX Runtime's training API: parameters, and the optimizer's state, as a
//! flatbuffer with the identifier `ODTC`.
//!
//! Tables, their fields in order of their slots (`onnxruntime/core/flatbuffers/schema` of 1.19):
//!
//! ```text
//! Checkpoint      version i32 = 2, module_state, optimizer_groups [OptimizerGroup], property_bag
//! ModuleState     requires_grad_params [Tensor], frozen_params [Tensor], is_nominal_state, has_external_data
//! Tensor          name, doc_string, dims [i64], data_type i32, raw_data [u8]
//! OptimizerGroup  group_name, step i64, initial_learning_rate f32, optimizer_states [State]
//! State           param_name, momentums [Tensor]: momentum0, momentum1
//! ```
//!
//! Written through the crate `flatbuffers`; read by a few checked lookups, since the crate's own
//! reading needs unsafe code for every table.

use std::collections::BTreeMap;

use bytes::Bytes;
use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, VOffsetT, WIPOffset};

use crate::error::{GraphError, Result};
use crate::tensor::safetensors::Tensors;
use crate::tensor::{DType, HostTensor};

/// Bytes 4 to 8 of the file.
const IDENTIFIER: &str = "ODTC";
/// The version of the format that ONNX Runtime 1.19 reads.
const VERSION: i32 = 2;
/// The only group of parameters there can be.
const GROUP: &str = "group0";
const MOMENTS: [&str; 2] = ["momentum0", "momentum1"];
/// Larger checkpoints get a second file by ONNX Runtime; flatbuffers end at 2 GiB.
const MAX_BYTES: usize = 3 << 29;

/// Slots of the tables.
mod slot {
    pub(super) const VERSION: u16 = 0;
    pub(super) const MODULE: u16 = 1;
    pub(super) const GROUPS: u16 = 2;
    pub(super) const TRAINED: u16 = 0;
    pub(super) const FROZEN: u16 = 1;
    pub(super) const EXTERNAL: u16 = 3;
    pub(super) const NAME: u16 = 0;
    pub(super) const DIMS: u16 = 2;
    pub(super) const TYPE: u16 = 3;
    pub(super) const DATA: u16 = 4;
    pub(super) const STEP: u16 = 1;
    pub(super) const STATES: u16 = 3;
    pub(super) const MOMENTS: u16 = 1;
}

/// Parameters of a network in training, and what the optimizer knows of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// What is trained, f32.
    pub trained: Tensors,
    /// What is stored besides, f32: running statistics.
    pub frozen: Tensors,
    /// First and second moments of what is trained; empty before the first step.
    pub moments: BTreeMap<String, [HostTensor; 2]>,
    /// Steps of the optimizer.
    pub step: u64,
}

impl Checkpoint {
    /// The bytes of its file with moments for every parameter that is trained.
    pub fn largest_file(trained: &Tensors) -> usize {
        3 * trained.values().map(|tensor| tensor.bytes().len()).sum::<usize>()
    }

    /// Refuses what would take more than one file.
    ///
    /// # Errors
    /// [`GraphError::Artifact`].
    pub fn check_size(trained: &Tensors) -> Result<(), GraphError> {
        let size = Checkpoint::largest_file(trained);
        match size <= MAX_BYTES {
            true => Ok(()),
            false => Err(GraphError::Artifact {
                what: "the checkpoint of all parameters and moments".into(),
                expected: format!("at most {} MiB", MAX_BYTES >> 20),
                found: format!("{} MiB", size >> 20),
            }),
        }
    }

    /// The content of the file.
    ///
    /// # Errors
    /// [`GraphError::Artifact`] for a tensor that is not f32, and for more than 1.5 GiB.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        Checkpoint::check_size(&self.trained)?;
        let tensors = self.trained.iter().chain(&self.frozen);
        if let Some((name, tensor)) = tensors.clone().find(|(_, tensor)| tensor.dtype() != DType::F32) {
            let (what, found) = (format!("parameter `{name}`"), tensor.dtype().to_string());
            return Err(GraphError::Artifact { what, expected: "f32".into(), found }.into());
        }
        let moments = self.moments.values().flatten();
        let size: usize =
            tensors.map(|(_, tensor)| tensor).chain(moments).map(|tensor| tensor.bytes().len() + 256).sum();
        let mut b = FlatBufferBuilder::with_capacity(size + 1024);
        let [trained, frozen] = [&self.trained, &self.frozen].map(|tensors| {
            let tables: Vec<_> = tensors.iter().map(|(name, value)| tensor(&mut b, name, value)).collect();
            b.create_vector(&tables)
        });
        let module = table(&mut b, |b| {
            b.push_slot_always(place(slot::TRAINED), trained);
            b.push_slot_always(place(slot::FROZEN), frozen);
        });
        let groups = (!self.moments.is_empty()).then(|| {
            let group = self.group(&mut b);
            b.create_vector(&[group])
        });
        let root = table(&mut b, |b| {
            b.push_slot_always(place(slot::VERSION), VERSION);
            b.push_slot_always(place(slot::MODULE), module);
            if let Some(groups) = groups {
                b.push_slot_always(place(slot::GROUPS), groups);
            }
        });
        b.finish(root, Some(IDENTIFIER));
        Ok(b.finished_data().to_vec())
    }

    fn group(&self, b: &mut FlatBufferBuilder<'_>) -> WIPOffset<TableFinishedWIPOffset> {
        let mut states = Vec::with_capacity(self.moments.len());
        for (name, moments) in &self.moments {
            let tables: Vec<_> = MOMENTS.iter().zip(moments).map(|(name, value)| tensor(b, name, value)).collect();
            let (tables, name) = (b.create_vector(&tables), b.create_string(name));
            states.push(table(b, |b| {
                b.push_slot_always(place(slot::NAME), name);
                b.push_slot_always(place(slot::MOMENTS), tables);
            }));
        }
        let (states, name) = (b.create_vector(&states), b.create_string(GROUP));
        table(b, |b| {
            b.push_slot_always(place(slot::STEP), self.step as i64);
            b.push_slot_always(place(slot::NAME), name);
            b.push_slot_always(place(slot::STATES), states);
        })
    }

    /// What is in a file; tensors share its bytes.
    ///
    /// # Errors
    /// [`GraphError::Artifact`] for a file that is cut short, has another version, keeps its tensors
    /// in a second file, or has tensors of other types than f32.
    pub fn from_bytes(bytes: &Bytes) -> Result<Checkpoint, GraphError> {
        let refused = |found: &str| GraphError::Artifact {
            what: "the checkpoint".into(),
            expected: format!("a complete file of version {VERSION} with f32 tensors"),
            found: found.to_owned(),
        };
        let cut = || refused("malformed or cut short");
        if bytes.get(4..8) != Some(IDENTIFIER.as_bytes()) {
            return Err(refused("another file"));
        }
        let root = Table { file: bytes, at: word(bytes, 0).ok_or_else(cut)? };
        match root.integer(slot::VERSION) {
            Some(VERSION) => {}
            found => return Err(refused(&format!("of version {}", found.unwrap_or(0)))),
        }
        let module = root.table(slot::MODULE).ok_or_else(cut)?;
        if module.optional(slot::EXTERNAL).ok_or_else(cut)?.is_some_and(|at| bytes.get(at) == Some(&1)) {
            return Err(refused("one that keeps tensors in a second file"));
        }
        let [trained, frozen] = [slot::TRAINED, slot::FROZEN]
            .map(|slot| module.tables(slot)?.iter().map(Table::tensor).collect::<Option<Tensors>>());
        let mut read =
            Checkpoint { trained: trained.ok_or_else(cut)?, frozen: frozen.ok_or_else(cut)?, ..Checkpoint::default() };
        if let Some(group) = root.tables(slot::GROUPS).ok_or_else(cut)?.first() {
            read.step = group.step().ok_or_else(cut)?;
            let states = group.tables(slot::STATES).ok_or_else(cut)?;
            read.moments = states.iter().map(Table::moments).collect::<Option<_>>().ok_or_else(cut)?;
        }
        Ok(read)
    }
}

/// The place of a slot in a table's index.
fn place(slot: u16) -> VOffsetT {
    4 + 2 * slot
}

fn table<'a>(
    b: &mut FlatBufferBuilder<'a>,
    fields: impl FnOnce(&mut FlatBufferBuilder<'a>),
) -> WIPOffset<TableFinishedWIPOffset> {
    let start = b.start_table();
    fields(b);
    b.end_table(start)
}

fn tensor(b: &mut FlatBufferBuilder<'_>, name: &str, value: &HostTensor) -> WIPOffset<TableFinishedWIPOffset> {
    let dims: Vec<i64> = value.shape().iter().map(|&size| size as i64).collect();
    let (data, dims, name) = (b.create_vector(value.bytes()), b.create_vector(&dims), b.create_string(name));
    table(b, |b| {
        b.push_slot_always(place(slot::NAME), name);
        b.push_slot_always(place(slot::DIMS), dims);
        b.push_slot_always(place(slot::TYPE), DType::F32.onnx_code());
        b.push_slot_always(place(slot::DATA), data);
    })
}

/// A table of a file that is not trusted: every lookup may find nothing.
#[derive(Clone, Copy)]
struct Table<'a> {
    file: &'a Bytes,
    at: usize,
}

/// Little-endian bytes of a number.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A u32: a distance or a count.
fn word(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(number(bytes, at)?)).ok()
}

impl<'a> Table<'a> {
    /// Where a field stands; an inner `None` where the table has no such field.
    fn optional(&self, slot: u16) -> Option<Option<usize>> {
        let back = i32::from_le_bytes(number(self.file, self.at)?);
        let index = usize::try_from(i64::try_from(self.at).ok()? - i64::from(back)).ok()?;
        let size = usize::from(u16::from_le_bytes(number(self.file, index)?));
        let place = usize::from(place(slot));
        if place + 2 > size {
            return Some(None);
        }
        match u16::from_le_bytes(number(self.file, index + place)?) {
            0 => Some(None),
            offset => Some(self.at.checked_add(usize::from(offset))),
        }
    }

    /// Where a field stands that every file has.
    fn field(&self, slot: u16) -> Option<usize> {
        self.optional(slot)?
    }

    fn integer(&self, slot: u16) -> Option<i32> {
        Some(i32::from_le_bytes(number(self.file, self.field(slot)?)?))
    }

    /// 0 where there is none, as flatbuffers leave out defaults.
    fn step(&self) -> Option<u64> {
        match self.optional(slot::STEP)? {
            None => Some(0),
            Some(at) => u64::try_from(i64::from_le_bytes(number(self.file, at)?)).ok(),
        }
    }

    /// What a field points at.
    fn target(&self, slot: u16) -> Option<usize> {
        let at = self.field(slot)?;
        at.checked_add(word(self.file, at)?)
    }

    fn table(&self, slot: u16) -> Option<Table<'a>> {
        Some(Table { file: self.file, at: self.target(slot)? })
    }

    /// The bytes of a vector or string of elements of `size` bytes.
    fn vector(&self, slot: u16, size: usize) -> Option<Bytes> {
        let at = self.target(slot)?;
        let start = at.checked_add(4)?;
        let end = start.checked_add(word(self.file, at)?.checked_mul(size)?)?;
        (end <= self.file.len()).then(|| self.file.slice(start..end))
    }

    /// Empty where the table has no such vector.
    fn tables(&self, slot: u16) -> Option<Vec<Table<'a>>> {
        let Some(at) = self.optional(slot)? else { return Some(Vec::new()) };
        let start = at.checked_add(word(self.file, at)?)?;
        let count = self.vector(slot, 4)?.len() / 4;
        let table = |index: usize| {
            let place = start + 4 + 4 * index;
            Some(Table { file: self.file, at: place.checked_add(word(self.file, place)?)? })
        };
        (0..count).map(table).collect()
    }

    fn name(&self) -> Option<String> {
        String::from_utf8(self.vector(slot::NAME, 1)?.to_vec()).ok()
    }

    /// Name and value of an f32 tensor.
    fn tensor(&self) -> Option<(String, HostTensor)> {
        let dims = match self.optional(slot::DIMS)? {
            None => Bytes::new(),
            Some(_) => self.vector(slot::DIMS, 8)?,
        };
        let sizes = dims.chunks_exact(8).map(|size| usize::try_from(i64::from_le_bytes(number(size, 0)?)).ok());
        let shape: Vec<usize> = sizes.collect::<Option<_>>()?;
        let is_single = self.integer(slot::TYPE) == Some(DType::F32.onnx_code());
        let value = HostTensor::new(DType::F32, shape, self.vector(slot::DATA, 1)?).filter(|_| is_single)?;
        Some((self.name()?, value))
    }

    /// Name and moments of a parameter.
    fn moments(&self) -> Option<(String, [HostTensor; 2])> {
        let mut found: Tensors = self.tables(slot::MOMENTS)?.iter().map(Table::tensor).collect::<Option<_>>()?;
        let [first, second] = MOMENTS.map(|name| found.remove(name));
        Some((self.name()?, [first?, second?]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let tensor = |shape: &[usize], value: f32| HostTensor::from_fn(shape, |at| value + at as f32);
        let moments = [tensor(&[2, 3], 10.0), tensor(&[2, 3], 20.0)];
        Checkpoint {
            trained: [("layer.weight".to_owned(), tensor(&[2, 3], 0.5)), ("scale".to_owned(), tensor(&[], 3.0))].into(),
            frozen: [("norm.running_mean".to_owned(), tensor(&[4], -1.0))].into(),
            moments: [("layer.weight".to_owned(), moments), ("scale".to_owned(), [tensor(&[], 1.0), tensor(&[], 2.0)])]
                .into(),
            step: 7,
        }
    }

    #[test]
    fn a_checkpoint_comes_back_as_written() {
        for checkpoint in [checkpoint(), Checkpoint { moments: BTreeMap::new(), step: 0, ..checkpoint() }] {
            let bytes = Bytes::from(checkpoint.to_bytes().unwrap());
            assert_eq!(&bytes[4..8], b"ODTC");
            assert_eq!(Checkpoint::from_bytes(&bytes).unwrap(), checkpoint);
        }
    }

    #[test]
    fn damaged_files_are_refused_and_nothing_is_read_beyond_their_ends() {
        let bytes = checkpoint().to_bytes().unwrap();
        for length in 0..bytes.len() {
            let cut = Bytes::copy_from_slice(&bytes[..length]);
            // What is cut off at the end may be padding; what comes back then is whole.
            if let Ok(read) = Checkpoint::from_bytes(&cut) {
                assert_eq!(read, checkpoint(), "{length}");
            }
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            // An error or other numbers; never a panic.
            drop(Checkpoint::from_bytes(&Bytes::from(changed)));
        }
        let error = Checkpoint::from_bytes(&Bytes::from_static(b"0000PK00")).unwrap_err();
        assert!(error.to_string().contains("the checkpoint is another file"), "{error}");
    }

    #[test]
    fn other_types_and_too_large_ones_are_refused() {
        let double =
            Checkpoint { trained: [("w".to_owned(), HostTensor::vector(vec![1f64]))].into(), ..Checkpoint::default() };
        let error = double.to_bytes().unwrap_err().to_string();
        assert_eq!(error, "parameter `w` is f64, ONNX Runtime's training API needs f32");
    }
}
