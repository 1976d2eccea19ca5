//! The codes: which letters there are, what each holds, how wide it is in which mode.

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `x`: a zero byte without a value.
    Pad,
    /// `c`: one byte.
    Char,
    /// `?`: true or false.
    Bool,
    /// `b h i l q n`: an integer with a sign, in two's complement.
    Signed,
    /// `B H I L Q N`: an integer from 0 up.
    Unsigned,
    /// `P`: an address. Negative ones are taken, as CPython takes them; none is given back.
    Pointer,
    /// `e`: a float of 16 bits.
    Half,
    /// `f`: a float of 32 bits.
    Single,
    /// `d`: a float of 64 bits.
    Double,
    /// `s`: as many bytes as the count says.
    Bytes,
    /// `p`: as many bytes as the count says, the first of which says how many of the rest count.
    Pascal,
}

/// Whose widths and alignment are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Those of C on a 64-bit machine with Linux; fields are aligned.
    Native,
    /// The same everywhere; nothing is aligned.
    Standard,
}

/// One letter, in one mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) letter: char,
    pub(super) kind: Kind,
    /// Bytes of one; of `s` and `p`, of one that is counted.
    pub(super) size: usize,
    /// It begins at a multiple of this.
    pub(super) align: usize,
}

/// Why a letter is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoCode {
    /// In no mode.
    Unknown,
    /// It is one in native mode.
    NativeOnly,
}

impl Code {
    pub(super) fn of(letter: char, mode: Mode) -> Result<Self, NoCode> {
        let (kind, native, standard) = row(letter).ok_or(NoCode::Unknown)?;
        let size = match mode {
            Mode::Native => native,
            Mode::Standard => standard.ok_or(NoCode::NativeOnly)?,
        };
        let align = match mode {
            Mode::Native => size,
            Mode::Standard => 1,
        };
        Ok(Self {
            letter,
            kind,
            size,
            align,
        })
    }
}

/// The table: kind, native and standard size. On 64-bit Linux every alignment is the native size.
fn row(letter: char) -> Option<(Kind, usize, Option<usize>)> {
    Some(match letter {
        'x' => (Kind::Pad, 1, Some(1)),
        'c' => (Kind::Char, 1, Some(1)),
        'b' => (Kind::Signed, 1, Some(1)),
        'B' => (Kind::Unsigned, 1, Some(1)),
        '?' => (Kind::Bool, 1, Some(1)),
        'h' => (Kind::Signed, 2, Some(2)),
        'H' => (Kind::Unsigned, 2, Some(2)),
        'i' => (Kind::Signed, 4, Some(4)),
        'I' => (Kind::Unsigned, 4, Some(4)),
        'l' => (Kind::Signed, 8, Some(4)),
        'L' => (Kind::Unsigned, 8, Some(4)),
        'q' => (Kind::Signed, 8, Some(8)),
        'Q' => (Kind::Unsigned, 8, Some(8)),
        'n' => (Kind::Signed, 8, None),
        'N' => (Kind::Unsigned, 8, None),
        'e' => (Kind::Half, 2, Some(2)),
        'f' => (Kind::Single, 4, Some(4)),
        'd' => (Kind::Double, 8, Some(8)),
        's' => (Kind::Bytes, 1, Some(1)),
        'p' => (Kind::Pascal, 1, Some(1)),
        'P' => (Kind::Pointer, 8, None),
        _ => return None,
    })
}
