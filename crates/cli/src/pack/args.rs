//! What was typed for `pack`, `unpack` and `calcsize`: types and help, no effects.

use clap::Args as ClapArgs;

const FORMATS: &str = "\
Formats, as in Python's struct module: an order, then codes, each with a count where it has one.
  order   @ (or none) native, aligned    = native    < little endian    > ! big endian
  codes   x pad   c char   ? bool   b B 8 bits   h H 16   i I 32   q Q 64   l L 32 (64 native)
          n N P 64, native only   e f d floats of 16, 32, 64 bits   Ns Np bytes, in N bytes
docs/struct.md has all of it.";

/// Print the bytes of values, as hexadecimal digits
#[derive(Debug, ClapArgs)]
#[command(
    override_usage = "packhorse pack [OPTIONS] FORMAT [VALUE]...",
    after_help = format!("\
Values: integers as 1024, -1, 0x400, 0o17, 0b101; floats as 1.5, 1e5, nan, -inf; true, false,
1, 0 for '?'; text for 'c', 's' and 'p', in UTF-8, with the escapes \\xNN \\n \\r \\t \\0 \\\\

Options go before FORMAT: what is behind it is a value, whatever it begins with.

Examples:
  packhorse pack '<i' 1024                      00040000: a length of 4 bytes, little endian
  packhorse pack '>HH10s' 7 0xffff 'caf\\xc3\\xa9'
  packhorse pack --raw '!I' 5 | packhorse connect tcp://127.0.0.1:9090

{FORMATS}

Exit code 2: a bad format, or a value that does not fit; each is named with its position"))]
pub(crate) struct Pack {
    /// Write the bytes themselves
    #[arg(long)]
    pub(crate) raw: bool,
    /// The format, and a value for each of its codes but 'x'
    #[arg(required = true, value_names = ["FORMAT", "VALUE"], num_args = 1.., trailing_var_arg = true,
          allow_hyphen_values = true)]
    pub(crate) format_and_values: Vec<String>,
}

/// Print the values in bytes, one a line
#[derive(Debug, ClapArgs)]
#[command(after_help = format!("\
Values are written so that 'packhorse pack' reads them: bytes as text, with the escapes
\\xNN \\n \\r \\t \\0 \\\\ for what is not text. With --json they are one array; bytes are
{{\"bytes\": BASE64, \"text\": TEXT or null}}; nan, inf and -inf are strings.

Examples:
  packhorse unpack '<i' 00040000                1024
  packhorse unpack '<i' '00 04 00 00'
  head -c 16 file.bin | packhorse unpack --json '>4sIQ'

{FORMATS}

Exit code 2: a bad format, or digits that are none; 6: more or fewer bytes than the format has"))]
pub(crate) struct Unpack {
    /// One JSON array
    #[arg(long)]
    pub(crate) json: bool,
    /// How the bytes are laid out
    pub(crate) format: String,
    /// The bytes as hexadecimal digits, white space allowed; '-' or nothing: the bytes themselves, from
    /// standard input
    pub(crate) hex: Option<String>,
}

/// Print how many bytes a format has
#[derive(Debug, ClapArgs)]
#[command(after_help = format!("\
Examples:
  packhorse calcsize 'bi'                       8: native mode aligns
  packhorse calcsize '<bi'                      5

{FORMATS}"))]
pub(crate) struct Calcsize {
    /// How bytes are laid out
    pub(crate) format: String,
}
