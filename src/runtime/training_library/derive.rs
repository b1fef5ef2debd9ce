//! A shared library from the Python extension of the wheel `onnxruntime-training-cpu`.
//!
//! The wheel holds ONNX Runtime with its training API, but only as a Python extension, whose one
//! exported function starts a Python module. All of the C interface is in it. Four changes make a
//! library of it that exports `OrtGetApiBase`, as the others do:
//!
//! 1. undefined symbols of Python's C interface become weak, so that the loader, where there is no
//!    Python, fills in 0 instead of failing (nothing calls them outside of a Python module);
//! 2. the name of the exported function, `PyInit_onnxruntime_pybind11_state`, becomes
//!    `OrtGetApiBase`;
//! 3. its first bytes become `lea rax, [rip + base]; ret`, where `base` is the library's
//!    `OrtApiBase { GetApi, GetVersionString }`, found by its version string;
//! 4. the GNU hash table is written anew, so that the new name is found.
//!
//! Whatever does not look exactly as expected stops with the reason; nothing is guessed.

use super::elf::{DT_GNU_HASH, DT_HASH, DT_STRTAB, DT_SYMTAB, Elf, Outcome, SYMBOL_BYTES};

/// The function that the extension exports.
const EXPORTED: &[u8] = b"PyInit_onnxruntime_pybind11_state";
/// The function that a library exports, with the zero that ends its name.
const WANTED: &[u8] = b"OrtGetApiBase\0";
/// The binding of a weak symbol, in the upper half of `st_info`.
const STB_WEAK: u8 = 2;
/// `endbr64`, which may stand before the first instruction of a function.
const ENDBR64_BYTES: u64 = 4;

/// The library in an extension of ONNX Runtime `version` (`1.19.2`).
pub(super) fn derive(extension: Vec<u8>, version: &str) -> Outcome<Vec<u8>> {
    let mut elf = Elf::read(extension)?;
    if elf.tag(DT_HASH).is_some() {
        return Err("it has a System V hash table, too".to_owned());
    }
    let base = api_base(&elf, version)?;
    let symbols = Symbols::read(&elf)?;
    weaken_python(&mut elf, &symbols)?;
    let function = rename_export(&mut elf, &symbols)?;
    return_base(&mut elf, function, base)?;
    rehash(&mut elf, &symbols)?;
    Ok(elf.into_bytes())
}

/// The address of `OrtApiBase`: two pointers, of which the second is to the function that gives the
/// version string.
fn api_base(elf: &Elf, version: &str) -> Outcome<u64> {
    let text = [b"\0", version.as_bytes(), b"\0"].concat();
    let strings: Vec<u64> = elf.addresses_of(&text).iter().map(|address| address + 1).collect();
    let getters: Vec<u64> = elf
        .address_getters()
        .into_iter()
        .filter(|(_, given)| strings.contains(given))
        .flat_map(|(function, _)| [function, function - ENDBR64_BYTES])
        .collect();
    let relocations = elf.relative_relocations()?;
    let bases: Vec<u64> = relocations
        .iter()
        .filter(|(place, function)| getters.contains(function) && relocations.contains_key(&(**place - 8)))
        .map(|(place, _)| place - 8)
        .collect();
    match bases[..] {
        [base] => Ok(base),
        _ => Err(format!("it has {} candidates for `OrtApiBase` of version {version}, not one", bases.len())),
    }
}

/// The symbol table and what finds a symbol in it.
struct Symbols {
    /// Place of the first symbol.
    table: usize,
    /// Place of the names.
    names: usize,
    /// Number of symbols.
    count: usize,
    hash: HashTable,
}

/// GNU's hash table: `buckets, first, filter words, shift`, the filter, the buckets, the chains.
struct HashTable {
    place: usize,
    /// Index of the first symbol that is in it.
    first: usize,
    /// Number of 64-bit words of its filter.
    filter: usize,
}

impl Symbols {
    fn read(elf: &Elf) -> Outcome<Symbols> {
        let place = elf.table(DT_GNU_HASH)?;
        let (buckets, first, filter) = (elf.index(place)?, elf.index(place + 4)?, elf.index(place + 8)?);
        let heads = place + 16 + 8 * filter;
        let chains = heads + 4 * buckets;
        // The number of symbols stands nowhere: it ends with the chain that begins last.
        let mut last = 0;
        for bucket in 0..buckets {
            last = last.max(elf.index(heads + 4 * bucket)?);
        }
        if last < first {
            return Err("it exports nothing".to_owned());
        }
        while elf.u32(chains + 4 * (last - first))? & 1 == 0 {
            last += 1;
        }
        Ok(Symbols {
            table: elf.table(DT_SYMTAB)?,
            names: elf.table(DT_STRTAB)?,
            count: last + 1,
            hash: HashTable { place, first, filter },
        })
    }

    /// Place of a symbol: `name u32, info u8, other u8, section u16, value u64, size u64`.
    fn place(&self, index: usize) -> usize {
        self.table + SYMBOL_BYTES * index
    }

    /// Place of a symbol's name.
    fn name(&self, elf: &Elf, index: usize) -> Outcome<usize> {
        Ok(self.names + elf.index(self.place(index))?)
    }
}

/// Change 1.
fn weaken_python(elf: &mut Elf, symbols: &Symbols) -> Outcome<()> {
    for index in 0..symbols.count {
        let name = elf.text(symbols.name(elf, index)?)?;
        let of_python = name.starts_with(b"Py") || name.starts_with(b"_Py");
        let place = symbols.place(index);
        if of_python && elf.half(place + 6)? == 0 {
            elf.change(place + 4, |info| (STB_WEAK << 4) | (info & 0x0f))?;
        }
    }
    Ok(())
}

/// Change 2; gives the function's address.
fn rename_export(elf: &mut Elf, symbols: &Symbols) -> Outcome<u64> {
    let mut exported = None;
    let mut names = Vec::with_capacity(symbols.count);
    for index in 0..symbols.count {
        let name = symbols.name(elf, index)?;
        names.push(name);
        if elf.text(name)? == EXPORTED {
            exported = Some((name, elf.u64(symbols.place(index) + 8)?));
        }
    }
    let (name, function) = exported.ok_or("it exports no Python module")?;
    if names.iter().any(|start| (name + 1..name + WANTED.len()).contains(start)) {
        return Err("another symbol shares the name of the exported function".to_owned());
    }
    elf.put(name, WANTED)?;
    Ok(function)
}

/// Change 3.
fn return_base(elf: &mut Elf, function: u64, base: u64) -> Outcome<()> {
    let next = function + 7;
    let distance = i128::from(base) - i128::from(next);
    let distance = i32::try_from(distance).map_err(|_| "`OrtApiBase` is too far from the exported function")?;
    let place = elf.offset(function)?;
    elf.put(place, &[b"\x48\x8d\x05".as_slice(), &distance.to_le_bytes(), b"\xc3"].concat())
}

/// Change 4: one bucket, and a filter that lets every name pass.
fn rehash(elf: &mut Elf, symbols: &Symbols) -> Outcome<()> {
    let HashTable { place, first, filter } = symbols.hash;
    let head = place + 16 + 8 * filter;
    elf.put(place, &1u32.to_le_bytes())?;
    elf.put(place + 16, &vec![0xff; 8 * filter])?;
    let start = u32::try_from(first).map_err(|error| error.to_string())?;
    elf.put(head, &start.to_le_bytes())?;
    for index in first..symbols.count {
        let hash = gnu_hash(elf.text(symbols.name(elf, index)?)?) & !1;
        let ends = u32::from(index + 1 == symbols.count);
        elf.put(head + 4 + 4 * (index - first), &(hash | ends).to_le_bytes())?;
    }
    Ok(())
}

/// `h = 5381; h = 33 h + c` over the characters.
fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, &byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_gnus() {
        // Values of the specification's examples: `printf`, `exit`, the empty name.
        assert_eq!([gnu_hash(b"printf"), gnu_hash(b"exit"), gnu_hash(b"")], [0x156b_2bb8, 0x7c96_7e3f, 5381]);
    }

    #[test]
    fn what_is_no_extension_is_refused_with_the_reason() {
        let refused = |bytes: Vec<u8>| derive(bytes, "1.19.2").unwrap_err();
        assert_eq!(refused(b"PK\x03\x04".to_vec()), "it is no 64-bit ELF file for x86_64");
        let mut head = vec![0; 64];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = 183;
        assert_eq!(refused(head.clone()), "it is no 64-bit ELF file for x86_64");
        head[18] = 62;
        assert_eq!(refused(head.clone()), "it has no dynamic section");
        // One program header that is said to lie behind the end.
        head[32] = 0xf0;
        head[54] = 56;
        head[56] = 1;
        assert_eq!(refused(head), "nothing lies at 0xf0");
    }
}
