//! Who may send: code phrases right and wrong, and doing without.

use std::fs;
use std::path::Path;

use crate::harness::peer::peer;
use crate::harness::process::code_file;
use crate::harness::{CODE, Ground, Packhorse, Running, assert_same_file, assert_untouched};

/// The words of which a receiver makes a code of its own.
const WORDS: &str = include_str!("../../../trust/src/words.txt");

/// The `nth` code that a receiver has shown, counted from 0; waits until it has.
fn shown_code(receiver: &mut Running, nth: usize) -> String {
    receiver.wait_for_stderr(|lines| {
        let mut codes = Vec::new();
        for token in lines.iter().flat_map(|line| line.split_whitespace()) {
            let token = token.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            if is_code(token) && !codes.contains(&token) {
                codes.push(token);
            }
        }
        codes.get(nth).map(|code| (*code).to_owned())
    })
}

fn is_code(token: &str) -> bool {
    let mut words = token.split('-');
    token.contains('-') && words.all(|word| WORDS.lines().any(|known| known == word))
}

fn guess(file: &Path, address: &str, code: &str) {
    let sender = Packhorse::send(&[file], address).code(code).run();
    sender.expect_code(4).expect_says("code");
}

#[test]
fn wrong_code_is_refused_with_4_and_three_burn_a_given_code() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let address = receiver.address();
    for wrong in ["wrong one", "wrong two", "wrong three"] {
        guess(&file, &address, wrong);
    }
    receiver.wait().expect_code(4).expect_says("code");
    assert_untouched(&ground.destination());
}

#[test]
fn right_code_after_two_wrong_ones_is_good() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let address = receiver.address();
    guess(&file, &address, "wrong one");
    guess(&file, &address, "wrong two");
    Packhorse::send(&[&file], &address).run().expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_file(&file, &ground.destination().join("file"));
}

#[test]
fn receiver_shows_new_code_when_own_is_burnt() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let mut receiver = Packhorse::recv(&ground.destination())
        .without_code()
        .start();
    let address = receiver.address();
    let first = shown_code(&mut receiver, 0);
    for wrong in ["wrong one", "wrong two", "wrong three"] {
        guess(&file, &address, wrong);
    }
    let second = shown_code(&mut receiver, 1);
    guess(&file, &address, &first);
    Packhorse::send(&[&file], &address)
        .code(&second)
        .run()
        .expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_file(&file, &ground.destination().join("file"));
}

#[test]
fn code_is_taken_from_a_file() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let code = code_file(&ground.beside(), "a code of one's own");
    let with_file = |packhorse: Packhorse| packhorse.without_code().arg("--code-file").arg(&code);
    let mut receiver = with_file(Packhorse::recv(&ground.destination())).start();
    let address = receiver.address();
    with_file(Packhorse::send(&[&file], &address))
        .run()
        .expect_code(0);
    receiver.wait().expect_code(0);
}

#[test]
fn without_a_code_and_a_terminal_the_sender_says_what_is_missing() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let sender = Packhorse::send(&[&file], &receiver.address())
        .without_code()
        .run();
    sender.expect_code(2).expect_says("PACKHORSE_CODE");
}

#[test]
fn keep_serves_one_session_after_another() {
    let ground = Ground::new();
    let mut receiver = Packhorse::recv(&ground.destination()).arg("--keep").start();
    let address = receiver.address();
    for name in ["first", "second"] {
        let file = ground.source_file(name, name);
        Packhorse::send(&[&file], &address).run().expect_code(0);
        assert_same_file(&file, &ground.destination().join(name));
    }
}

#[test]
fn insecure_works_on_loopback() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let recv = Packhorse::recv(&ground.destination()).without_code();
    let mut receiver = recv.arg("--insecure").start();
    let send = Packhorse::send(&[&file], &receiver.address()).without_code();
    send.arg("--insecure").run().expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_file(&file, &ground.destination().join("file"));
}

#[test]
fn insecure_refuses_non_loopback() {
    let ground = Ground::new();
    let receiver = Packhorse::verb("recv")
        .arg(ground.destination())
        .args(["--listen", "0.0.0.0:0", "--insecure"])
        .run();
    receiver.expect_code(2).expect_says("--insecure=anywhere");
}

#[test]
fn insecure_anywhere_listens_anywhere() {
    let ground = Ground::new();
    let mut receiver = Packhorse::verb("recv")
        .arg(ground.destination())
        .args([
            "--listen",
            "0.0.0.0:0",
            "--insecure=anywhere",
            "--events",
            "-",
        ])
        .start();
    assert!(receiver.address().starts_with("0.0.0.0:"));
}

#[test]
fn insecure_and_secure_do_not_mix() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let mut secure = Packhorse::recv(&ground.destination()).start();
    let send = Packhorse::send(&[&file], &secure.address()).without_code();
    send.arg("--insecure").run().expect_code(4);

    let recv = Packhorse::recv(&ground.destination()).without_code();
    let mut insecure = recv.arg("--insecure").start();
    let sender = Packhorse::send(&[&file], &insecure.address())
        .code(CODE)
        .run();
    sender.expect_code(4);
    assert!(
        fs::read_dir(ground.destination())
            .expect("a directory")
            .next()
            .is_none()
    );
}

/// A terminal that shows nothing of what is typed any more is a nuisance to be left with.
#[test]
fn an_interrupted_prompt_gives_the_terminal_back() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    for signal in ["INT", "TERM"] {
        let Some(terminal) = peer("an_interrupted_prompt_gives_the_terminal_back", "prompt.py")
        else {
            return;
        };
        let ended = terminal
            .args([signal, env!("CARGO_BIN_EXE_packhorse"), "send"])
            .arg(&file)
            .arg("127.0.0.1:1")
            .run();
        ended.expect_code(0);
        assert_eq!(
            ended.stdout().last().unwrap(),
            "exit 130, echo on",
            "{signal}"
        );
    }
}
