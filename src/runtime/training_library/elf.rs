//! As much of the ELF format as deriving a library takes: segments, the dynamic section, symbols.
//!
//! In goes a 64-bit little-endian shared library for x86_64, out comes one of the same size: bytes
//! are replaced where they lie, nothing moves. Everything that the file states is checked against
//! its length before it is believed.
//!
//! Layout: System V ABI, generic and AMD64 supplement (`Elf64_Phdr`, `Elf64_Dyn`, `Elf64_Sym`,
//! `Elf64_Rela`); the hash table is GNU's (`DT_GNU_HASH`).

use std::collections::BTreeMap;

/// Why a file is not what is expected of it, in words.
pub(super) type Outcome<T> = std::result::Result<T, String>;

/// Tag of the dynamic section: the System V hash table.
pub(super) const DT_HASH: u64 = 4;
/// Tag of the dynamic section: the names of symbols.
pub(super) const DT_STRTAB: u64 = 5;
/// Tag of the dynamic section: the symbols.
pub(super) const DT_SYMTAB: u64 = 6;
/// Tag of the dynamic section: the relocations with addends.
const DT_RELA: u64 = 7;
/// Tag of the dynamic section: the bytes of the relocations.
const DT_RELASZ: u64 = 8;
/// Tag of the dynamic section: GNU's hash table.
pub(super) const DT_GNU_HASH: u64 = 0x6fff_fef5;
/// A relocation that puts `base + addend` somewhere.
const R_X86_64_RELATIVE: u32 = 8;
/// Bytes of a symbol.
pub(super) const SYMBOL_BYTES: usize = 24;
/// Bytes of a relocation.
const RELOCATION_BYTES: usize = 24;

/// A part of the file that the loader maps.
struct Segment {
    address: u64,
    offset: usize,
    size: usize,
    executable: bool,
}

/// A shared library in memory.
pub(super) struct Elf {
    bytes: Vec<u8>,
    segments: Vec<Segment>,
    dynamic: BTreeMap<u64, u64>,
}

impl Elf {
    /// Reads the tables of a library.
    pub(super) fn read(bytes: Vec<u8>) -> Outcome<Elf> {
        let magic = b"\x7fELF\x02\x01";
        if bytes.len() < 64 || !bytes.starts_with(magic) || bytes[18..20] != [62, 0] {
            return Err("it is no 64-bit ELF file for x86_64".to_owned());
        }
        let mut elf = Elf { bytes, segments: Vec::new(), dynamic: BTreeMap::new() };
        let table = elf.word(32)?;
        let (entry, count) = (usize::from(elf.half(54)?), usize::from(elf.half(56)?));
        let mut dynamic = None;
        for at in (0..count).map(|index| table + index * entry) {
            let (kind, flags) = (elf.u32(at)?, elf.u32(at + 4)?);
            let (offset, address, size) = (elf.word(at + 8)?, elf.u64(at + 16)?, elf.word(at + 32)?);
            if offset.checked_add(size).is_none_or(|end| end > elf.bytes.len()) {
                return Err(format!("segment at {offset:#x} reaches behind the end of the file"));
            }
            match kind {
                1 => elf.segments.push(Segment { address, offset, size, executable: flags & 1 != 0 }),
                2 => dynamic = Some((offset, size)),
                _ => {}
            }
        }
        let (offset, size) = dynamic.ok_or("it has no dynamic section")?;
        for at in (offset..offset + size).step_by(16) {
            let (tag, value) = (elf.u64(at)?, elf.u64(at + 8)?);
            if tag == 0 {
                break;
            }
            elf.dynamic.entry(tag).or_insert(value);
        }
        Ok(elf)
    }

    /// The file as it is now.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The value of a tag of the dynamic section.
    pub(super) fn tag(&self, tag: u64) -> Option<u64> {
        self.dynamic.get(&tag).copied()
    }

    /// Where in the file lies what a tag points at.
    pub(super) fn table(&self, tag: u64) -> Outcome<usize> {
        let address = self.tag(tag).ok_or_else(|| format!("its dynamic section has no tag {tag:#x}"))?;
        self.offset(address)
    }

    /// Where in the file an address lies.
    pub(super) fn offset(&self, address: u64) -> Outcome<usize> {
        let holds = |segment: &&Segment| (segment.address..segment.address + segment.size as u64).contains(&address);
        let segment =
            self.segments.iter().find(holds).ok_or_else(|| format!("address {address:#x} is in no segment"))?;
        Ok(segment.offset + (address - segment.address) as usize)
    }

    /// The address of a place in the file; `None` where nothing of it is mapped.
    fn address(&self, offset: usize) -> Option<u64> {
        let holds = |segment: &&Segment| (segment.offset..segment.offset + segment.size).contains(&offset);
        self.segments.iter().find(holds).map(|segment| segment.address + (offset - segment.offset) as u64)
    }

    /// The addresses of every mapped occurrence of these bytes.
    pub(super) fn addresses_of(&self, wanted: &[u8]) -> Vec<u64> {
        let windows = self.bytes.windows(wanted.len()).enumerate();
        windows.filter(|(_, found)| *found == wanted).filter_map(|(offset, _)| self.address(offset)).collect()
    }

    /// Every `lea rax, [rip + x]; ret` (`48 8d 05 x x x x c3`): its address and the one it gives.
    pub(super) fn address_getters(&self) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.executable) {
            let code = &self.bytes[segment.offset..segment.offset + segment.size];
            for (at, bytes) in code.windows(8).enumerate() {
                if bytes[..3] == [0x48, 0x8d, 0x05] && bytes[7] == 0xc3 {
                    let here = segment.address + at as u64;
                    let distance = i32::from_le_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]);
                    found.push((here, (here + 7).wrapping_add_signed(distance.into())));
                }
            }
        }
        found
    }

    /// Where the loader puts addresses of the library itself, and which.
    pub(super) fn relative_relocations(&self) -> Outcome<BTreeMap<u64, u64>> {
        let table = self.table(DT_RELA)?;
        let size = self.tag(DT_RELASZ).ok_or("its dynamic section states no size of its relocations")?;
        let size = usize::try_from(size).map_err(|error| error.to_string())?;
        let mut relocations = BTreeMap::new();
        for at in (table..table.saturating_add(size)).step_by(RELOCATION_BYTES) {
            if self.u32(at + 8)? == R_X86_64_RELATIVE {
                relocations.insert(self.u64(at)?, self.u64(at + 16)?);
            }
        }
        Ok(relocations)
    }

    /// The text that starts at a place, up to its zero.
    pub(super) fn text(&self, offset: usize) -> Outcome<&[u8]> {
        let rest = self.bytes.get(offset..).ok_or_else(|| format!("nothing lies at {offset:#x}"))?;
        rest.split(|&byte| byte == 0).next().ok_or_else(|| format!("no text lies at {offset:#x}"))
    }

    fn array<const N: usize>(&self, offset: usize) -> Outcome<[u8; N]> {
        let bytes = self.bytes.get(offset..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or_else(|| format!("nothing lies at {offset:#x}"))
    }

    /// Two bytes as a number.
    pub(super) fn half(&self, offset: usize) -> Outcome<u16> {
        self.array(offset).map(u16::from_le_bytes)
    }

    /// Four bytes as a number.
    pub(super) fn u32(&self, offset: usize) -> Outcome<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }

    /// Eight bytes as a number.
    pub(super) fn u64(&self, offset: usize) -> Outcome<u64> {
        self.array(offset).map(u64::from_le_bytes)
    }

    /// Four bytes as an index.
    pub(super) fn index(&self, offset: usize) -> Outcome<usize> {
        self.u32(offset).map(|value| value as usize)
    }

    fn word(&self, offset: usize) -> Outcome<usize> {
        usize::try_from(self.u64(offset)?).map_err(|error| error.to_string())
    }

    /// Replaces bytes.
    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) -> Outcome<()> {
        let place = offset.checked_add(bytes.len()).and_then(|end| self.bytes.get_mut(offset..end));
        place.ok_or_else(|| format!("nothing lies at {offset:#x}"))?.copy_from_slice(bytes);
        Ok(())
    }

    /// Replaces one byte by what `change` makes of it.
    pub(super) fn change(&mut self, offset: usize, change: impl FnOnce(u8) -> u8) -> Outcome<()> {
        let [byte] = self.array(offset)?;
        self.put(offset, &[change(byte)])
    }
}
