//! Formats, values and bytes at random, judged by CPython's own struct module.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use packhorse_frame::pack::{Field, Format, Kind, MAX_SIZE, Value};

const CASES: usize = 20_000;

/// What is judged at once: the format, values to pack, bytes to unpack.
struct Case {
    format: String,
    values: Vec<Value>,
    bytes: Vec<u8>,
}

/// How often the judge and we agreed on what.
#[derive(Debug, Default)]
struct Tally {
    formats: usize,
    bad_formats: usize,
    packed: usize,
    refused_values: usize,
    unpacked: usize,
    refused_bytes: usize,
}

#[test]
fn cpython_agrees_on_random_formats_values_and_bytes() {
    let Some(mut judge) = Judge::start() else {
        return;
    };
    let mut random = Random::seeded();
    let mut tally = Tally::default();
    for _ in 0..CASES {
        let case = random.case();
        compare(&mut judge, &case, &mut tally);
    }
    say(&format!("{CASES} cases, judged by CPython: {tally:?}"));
    // That nothing is compared but errors would show here.
    assert!(tally.packed > CASES / 4, "{tally:?}");
    assert!(tally.unpacked > CASES / 4, "{tally:?}");
    assert!(tally.bad_formats > CASES / 50, "{tally:?}");
    assert!(tally.refused_values > CASES / 20, "{tally:?}");
    assert!(tally.refused_bytes > CASES / 20, "{tally:?}");
}

#[test]
fn cpython_agrees_on_each_code_in_each_order() {
    let Some(mut judge) = Judge::start() else {
        return;
    };
    let mut random = Random(1);
    let mut tally = Tally::default();
    for order in ["", "@", "=", "<", ">", "!"] {
        for code in "xcbB?hHiIlLqQnNefdspP".chars() {
            for count in ["", "0", "1", "3", "255", "256", "257", "300"] {
                // CPython writes and reads beyond a `p` without room: docs/struct.md.
                if (count, code) == ("0", 'p') {
                    continue;
                }
                for _ in 0..4 {
                    let case = random.case_for(format!("{order}c{count}{code}c"));
                    compare(&mut judge, &case, &mut tally);
                }
            }
        }
    }
    say(&format!("each code in each order: {tally:?}"));
}

#[test]
fn cpython_agrees_on_every_half_float() {
    let Some(mut judge) = Judge::start() else {
        return;
    };
    let mut tally = Tally::default();
    let format: Format = ">256e".parse().expect("a format");
    // 256 at a time; packed are the middles between neighbours, and what is right beside those.
    for first in (0..=u16::MAX).step_by(256) {
        let bytes: Vec<u8> = (first..=first | 255).flat_map(u16::to_be_bytes).collect();
        let halves = format.unpack(&bytes).expect("its size");
        let values = halves.iter().zip(0..).map(|(value, step)| match *value {
            Value::Float(number) if number.is_finite() => {
                let beyond = f64::from_bits(number.to_bits() + (1 << 41) + 1 - step % 3);
                let fits = beyond.abs() < 65520.0;
                Value::Float(if fits { beyond } else { number })
            }
            ref other => other.clone(),
        });
        let case = Case {
            format: ">256e".to_owned(),
            values: values.collect(),
            bytes,
        };
        compare(&mut judge, &case, &mut tally);
    }
    assert_eq!((tally.packed, tally.unpacked), (256, 256));
}

/// Asks both, and fails where they differ.
#[track_caller]
fn compare(judge: &mut Judge, case: &Case, tally: &mut Tally) {
    let answer = judge.ask(case);
    let [size, packed, unpacked] = &answer[..] else {
        panic!("the judge answers {answer:?}");
    };
    let context = format!(
        "format {:?}, values [{}], bytes {}; the judge says {answer:?}",
        case.format,
        written(&case.values),
        hex(&case.bytes)
    );
    let format = match case.format.parse::<Format>() {
        Ok(format) => format,
        Err(error) => {
            let too_long = size.parse().is_ok_and(|size: usize| size > MAX_SIZE);
            assert!(size == "!" || too_long, "{error}: {context}");
            tally.bad_formats += 1;
            return;
        }
    };
    tally.formats += 1;
    assert_eq!(format.size().to_string(), *size, "{context}");
    match format.pack(&case.values) {
        Ok(bytes) => {
            assert_eq!(hex(&bytes), *packed, "{context}");
            tally.packed += 1;
        }
        Err(error) => {
            assert_eq!("!", packed, "{error}: {context}");
            tally.refused_values += 1;
        }
    }
    match format.unpack(&case.bytes) {
        Ok(values) => {
            assert_eq!(written(&values), *unpacked, "{context}");
            tally.unpacked += 1;
        }
        Err(error) => {
            assert_eq!("!", unpacked, "{error}: {context}");
            tally.refused_bytes += 1;
        }
    }
}

/// A python3 that answers line by line.
struct Judge {
    process: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Judge {
    /// `None`, and a note, where there is no Python.
    fn start() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/struct_judge.py");
        let mut process = match Command::new("python3")
            .args(["-B", script, &MAX_SIZE.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        {
            Ok(process) => process,
            Err(error) => {
                say(&format!("not shown here: python3 does not run: {error}"));
                return None;
            }
        };
        let to = process.stdin.take().expect("a pipe");
        let from = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Some(Self { process, to, from })
    }

    fn ask(&mut self, case: &Case) -> Vec<String> {
        let question = format!(
            "{}\t{}\t{}\n",
            hex(case.format.as_bytes()),
            written(&case.values),
            hex(&case.bytes)
        );
        self.to
            .write_all(question.as_bytes())
            .expect("a judge that listens");
        let answer = self.from.next().expect("an answer").expect("text");
        answer.split('\t').map(str::to_owned).collect()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn written(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(write_value).collect();
    texts.join(" ")
}

fn write_value(value: &Value) -> String {
    match value {
        Value::Int(number) => format!("i:{number}"),
        Value::Float(number) => format!("f:{:016x}", number.to_bits()),
        Value::Bool(truth) => format!("t:{}", u8::from(*truth)),
        Value::Bytes(bytes) => format!("b:{}", hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    /// Seeded by PACKHORSE_TEST_SEED, else by the clock; says by what.
    fn seeded() -> Self {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH);
        let seed = match std::env::var("PACKHORSE_TEST_SEED") {
            Ok(seed) => seed.parse().expect("PACKHORSE_TEST_SEED is a number"),
            Err(_) => clock().map_or(0, |time| time.as_secs() ^ u64::from(time.subsec_nanos())),
        };
        say(&format!(
            "to have the same again: PACKHORSE_TEST_SEED={seed}"
        ));
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("usize fits");
        usize::try_from(self.next() % end).expect("below a usize")
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn case(&mut self) -> Case {
        let format = self.format();
        self.case_for(format)
    }

    /// Values and bytes that mostly fit.
    fn case_for(&mut self, format: String) -> Case {
        let (mut values, mut size) = match format.parse::<Format>() {
            Ok(parsed) => {
                let values = parsed.fields().map(|field| self.value_for(field)).collect();
                (values, parsed.size())
            }
            Err(_) => (vec![Value::Int(1)], 4),
        };
        if self.one_in(16) {
            match self.one_in(2) {
                true => drop(values.pop()),
                false => values.push(Value::Int(0)),
            }
        }
        if self.one_in(8) {
            size = self.below(size + 3);
        }
        let bytes = self.bytes(size);
        Case {
            format,
            values,
            bytes,
        }
    }

    fn format(&mut self) -> String {
        let order = self.pick(&["", "@", "=", "<", ">", "!"]);
        let native = order.is_empty() || order == "@";
        let mut text = order.to_owned();
        for _ in 0..self.below(7) {
            if self.one_in(6) {
                text += self.pick(&[" ", "\t", "\n", "\r\n", "\x0b", "\x0c"]);
            }
            let count = self.count();
            text += &count;
            if self.one_in(150) {
                text += self.pick(&[
                    "k", " ", "<", "@", "é", "-", "\0", "X", "\u{a0}", "_", "\x1c",
                ]);
            }
            let codes = match native || self.one_in(100) {
                true => "xcbB?hHiIlLqQnNefdsPp",
                false => "xcbB?hHiIlLqQefdsp",
            };
            // CPython writes and reads beyond a `p` without room: docs/struct.md.
            let no_room = !count.is_empty() && count.bytes().all(|digit| digit == b'0');
            let codes: Vec<char> = codes.chars().filter(|&c| !(no_room && c == 'p')).collect();
            text.push(self.pick(&codes));
        }
        if self.one_in(100) {
            text.push('7');
        }
        text
    }

    fn count(&mut self) -> String {
        match self.below(40) {
            0..12 => self.below(5).to_string(),
            12 => format!("00{}", self.below(12)),
            13 => self.pick(&[255, 256, 257, 300]).to_string(),
            14 if self.one_in(8) => self
                .pick(&[
                    "67108865",
                    "1000000000000000000",
                    "9223372036854775807",
                    "9223372036854775808",
                    "99999999999999999999999",
                ])
                .to_owned(),
            _ => String::new(),
        }
    }

    /// Mostly what fits; else of any kind.
    fn value_for(&mut self, field: Field) -> Value {
        if self.one_in(60) {
            return match self.below(4) {
                0 => Value::Int(i128::from(self.next()) - (1 << 63)),
                1 => Value::Float(f64::from_bits(self.next())),
                2 => Value::Bool(self.one_in(2)),
                _ => self.bytes_below(4),
            };
        }
        match field.kind {
            Kind::Bool => Value::Bool(self.one_in(2)),
            Kind::Signed | Kind::Unsigned | Kind::Pointer => self.integer(field),
            Kind::Half | Kind::Single | Kind::Double => self.float(field.kind),
            Kind::Pad | Kind::Char => Value::bytes(self.bytes(1)),
            Kind::Bytes | Kind::Pascal => self.bytes_below(field.width + 3),
        }
    }

    fn bytes_below(&mut self, end: usize) -> Value {
        let length = self.below(end);
        Value::bytes(self.bytes(length))
    }

    /// Anywhere in the range, often at its ends, sometimes one beyond.
    fn integer(&mut self, field: Field) -> Value {
        let values = 1_i128 << (8 * field.width);
        let (lowest, highest) = match field.kind {
            Kind::Signed => (-values / 2, values / 2 - 1),
            _ => (0, values - 1),
        };
        Value::Int(match self.below(40) {
            0..6 => lowest,
            6..12 => highest,
            12 => lowest - 1,
            13 => highest + 1,
            14 => -1,
            15 => 0,
            _ => lowest + i128::from(self.next()) % values,
        })
    }

    /// Any bits at all, and numbers near what each width can hold.
    fn float(&mut self, kind: Kind) -> Value {
        let (largest, smallest) = match kind {
            Kind::Half => (65520.0, 2f64.powi(-25)),
            // Half a step beyond the largest.
            Kind::Single => (f64::from(f32::MAX) + 2f64.powi(103), 2f64.powi(-150)),
            _ => (f64::MAX, f64::from_bits(1)),
        };
        let sign = self.pick(&[1.0, -1.0]);
        let number = match self.below(40) {
            0 => f64::from_bits(self.next()),
            1 => largest,
            2..4 => largest.next_down(),
            4 => smallest,
            5 => smallest.next_up(),
            6 => smallest * 3.0,
            7 => f64::INFINITY,
            8 => f64::from_bits(0x7ff0_0000_0000_0001 | self.next() >> 12),
            9 => 0.0,
            10 => return Value::Int(i128::from(self.next() >> 50) - 5000),
            11..20 => smallest * (self.next() >> 48) as f64 / 16.0,
            _ => (self.next() >> 11) as f64 / 2f64.powi(53) * 60000.0,
        };
        Value::Float(number.copysign(sign))
    }
}

#[allow(
    clippy::print_stdout,
    reason = "the test runner shows it when a test fails"
)]
fn say(line: &str) {
    println!("{line}");
}
