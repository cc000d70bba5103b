// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! What this crate declares is what `lib/libgmem.abi` lists: each prototype, each member with its
//! type, offset and size, each value.  A line of either that the other lacks is a failure.
use gmem_sys::*;
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::raw::c_uint;
use std::ptr::addr_of;

const ABI: &str = include_str!("../../../../lib/libgmem.abi");
const SOURCE: &str = include_str!("../src/lib.rs");

/// A type of C, as Rust writes it; a parameter may be a pointer.
fn rust_type(c: &str) -> String {
    let c = c.trim();
    if let Some(to) = c.strip_suffix('*') {
        return match to.trim().strip_prefix("const ") {
            Some(to) => format!("*const {}", rust_type(to)),
            None => format!("*mut {}", rust_type(to)),
        };
    }
    match c {
        "int" => "c_int",
        "unsigned int" => "c_uint",
        "unsigned long" => "c_ulong",
        "char" => "c_char",
        "void" => "c_void",
        "size_t" => "usize",
        "uint32_t" => "u32",
        "uint64_t" => "u64",
        "_Bool" => "bool",
        other => other.trim_start_matches("struct ").trim_start_matches("enum "),
    }
    .into()
}

/// Words that Rust has for itself.
fn rust_name(c: &str) -> String {
    match c {
        "use" | "where" => format!("{c}_"),
        _ => c.into(),
    }
}

/// `const struct x *y`, as `y: *const x`.
fn declaration(c: &str) -> String {
    let split = c.rfind([' ', '*']).unwrap() + 1;
    format!("{}: {}", rust_name(&c[split..]), rust_type(&c[..split]))
}

/// `int f(int a)`, or with `(*f)` in the middle, as name and `(a: c_int) -> c_int`.
fn prototype(c: &str) -> (String, String) {
    let open = c.rfind('(').unwrap();
    let arguments = c[open + 1..].trim_end_matches(')');
    let arguments = match arguments {
        "void" => vec![],
        _ => arguments.split(", ").map(declaration).collect::<Vec<_>>(),
    };
    let head = c[..open].replace("(*", "").replace(')', "");
    let split = head.rfind([' ', '*']).unwrap() + 1;
    let result = match rust_type(&head[..split]).as_str() {
        "c_void" => String::new(),
        result => format!(" -> {result}"),
    };
    (rust_name(&head[split..]), format!("({}){result}", arguments.join(", ")))
}

/// What is declared here, however its lines are broken, and without comments.
fn source() -> String {
    let lines = SOURCE.lines().filter(|line| !line.trim().starts_with("//"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").replace("( ", "(").replace(", )", ")")
}

/// The lines of the list with this first word, without it.
fn lines(kind: &str) -> impl Iterator<Item = &'static str> + '_ {
    ABI.lines().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
}

/// What Rust has, from offset to size.
macro_rules! layout {
    ($($name:ident { $($member:ident)* })*) => {{
        let mut lines = BTreeSet::new();
        $(
            let whole = MaybeUninit::<$name>::uninit();
            $(
                // SAFETY: an address is taken, nothing is read.
                let member = unsafe { addr_of!((*whole.as_ptr()).$member) };
                let offset = member as usize - whole.as_ptr() as usize;
                // SAFETY: the same, with a pointer that is never used.
                let size = size_of_target(|| unsafe { addr_of!((*whole.as_ptr()).$member) });
                lines.insert(format!("{} {} {offset} {size}", stringify!($name), stringify!($member)));
            )*
        )*
        lines
    }};
}

fn size_of_target<T>(_pointer: impl Fn() -> *const T) -> usize {
    std::mem::size_of::<T>()
}

#[test]
fn members_have_their_offsets_and_sizes() {
    let ours = layout! {
        gmem_probe { struct_size mechanism mechanisms attributes to_shared to_private is_atomic }
        gmem_vm_opts { struct_size vm_type mechanism }
        gmem_create_opts { struct_size attributes }
        gmem_adopt_opts { struct_size hva shared_offset private_pages attributes flags }
        gmem_map_opts { struct_size address mmap_flags }
        gmem_bind_opts { struct_size flags slot_flags timeout_ms cancel }
        gmem_range { struct_size gmem offset size gpa attributes }
        gmem_listener { struct_size before_private after_shared arg flags begin commit }
        gmem_iommu_opts { struct_size fd ioas_id }
        gmem_convert_opts { struct_size to_shared to_private flags timeout_ms busy arg cancel }
        gmem_result { struct_size step where_ attempts left left_size undo_error contents_lost undiscarded }
    };
    let theirs: BTreeSet<String> = lines("struct")
        .map(|line| {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let member = match words[3].contains('(') {
                true => prototype(words[3]).0,
                false => declaration(words[3]).split(':').next().unwrap().into(),
            };
            format!("{} {member} {} {}", words[0], words[1], words[2])
        })
        .collect();
    assert!(!theirs.is_empty());
    assert_eq!(ours, theirs);
}

#[test]
fn members_have_their_types() {
    let source = source();
    for line in lines("struct").filter(|line| !line.ends_with(" struct_size")) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let text = match words[3].contains('(') {
            true => {
                let (name, arguments) = prototype(words[3]);
                format!("{name}: Option<unsafe extern \"C\" fn{arguments}>,")
            }
            false => format!("{},", declaration(words[3])),
        };
        let start = source.find(&format!(" {} {{ ", words[0])).expect(words[0]);
        let body = &source[start..start + source[start..].find(" }").unwrap() + 1];
        assert!(body.contains(&format!(" {text} ")), "{}: {text}", words[0]);
    }
}

#[test]
fn functions_have_their_prototypes() {
    let theirs: BTreeSet<String> = lines("prototype")
        .map(|line| {
            let (name, arguments) = prototype(line);
            format!("{name}{arguments};")
        })
        .collect();
    let ours: BTreeSet<String> = source()
        .split(" pub fn ")
        .skip(1)
        .map(|rest| rest[..=rest.find(';').unwrap()].into())
        .collect();
    assert!(!theirs.is_empty());
    assert_eq!(ours, theirs);
    for symbol in lines("symbol") {
        let name = symbol.split('@').next().unwrap();
        assert!(ours.iter().any(|line| line.starts_with(&format!("{name}("))), "{name}");
    }
}

/// `NAME: u32 = VALUE` of each constant, by its type of C.
macro_rules! values {
    ($($kind:literal: $type:ty { $($name:ident)* })*) => {{
        let mut lines = BTreeSet::new();
        $($({
            let value: $type = $name;
            lines.insert(format!("{}.{} {value}", $kind, stringify!($name)));
        })*)*
        lines
    }};
}

#[test]
fn constants_have_their_types_and_values() {
    let ours = values! {
        "enum gmem_policy": c_uint { GMEM_ZERO GMEM_PRESERVE GMEM_NONE GMEM_DEFAULT }
        "enum gmem_mechanism": c_uint {
            GMEM_MECHANISM_NONE GMEM_TWO_BACKINGS GMEM_IN_PLACE_PLAIN GMEM_IN_PLACE
        }
        "enum gmem_step": c_uint {
            GMEM_STEP_DONE GMEM_STEP_CHECK GMEM_STEP_BEFORE_PRIVATE GMEM_STEP_PREPARE
            GMEM_STEP_CONVERT GMEM_STEP_ZERO GMEM_STEP_AFTER_SHARED GMEM_STEP_TURN
        }
        "macro u64": u64 {
            GMEM_SHARED GMEM_PRIVATE GMEM_NO_GPA GMEM_LISTENER_REPLAY GMEM_LISTENER_GAPS
        }
        "macro u32": u32 { GMEM_ASK_KERNEL GMEM_NO_SLOT GMEM_NO_UNDO GMEM_NO_DISCARD }
    };
    let theirs: BTreeSet<String> = ABI
        .lines()
        .filter(|line| line.starts_with("enum ") || line.starts_with("macro "))
        .map(String::from)
        .collect();
    assert_eq!(ours, theirs);
}

/// The library's own initialisers, of C, agree with Default.
#[test]
fn defaults_are_those_of_the_library() {
    let mut opts = gmem_convert_opts { timeout_ms: 7, ..Default::default() };
    let mut range = gmem_range { gpa: 7, ..Default::default() };
    // SAFETY: both are ours, with their size.
    unsafe {
        gmem_convert_opts_init(&mut opts, std::mem::size_of_val(&opts));
        gmem_range_init(&mut range, std::mem::size_of_val(&range));
    }
    let ours = gmem_convert_opts::default();
    assert_eq!(format!("{opts:?}"), format!("{ours:?}"));
    assert_eq!((range.struct_size, range.gpa), (gmem_range::default().struct_size, 0));
}

#[test]
fn version_is_that_of_the_library() {
    // SAFETY: a string that stays.
    let version = unsafe { std::ffi::CStr::from_ptr(gmem_version()) };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}
