//! What an echo server costs that is written by hand: `tokio_echo framed|raw`. Benchmarks compare with it.
//!
//! `framed` takes lengths of four bytes through `LengthDelimitedCodec`, `raw` gives back what it reads.
#![allow(clippy::print_stdout, reason = "a program's whole purpose")]

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Decoder as _, Encoder as _, LengthDelimitedCodec};

#[tokio::main]
async fn main() -> io::Result<()> {
    let framed = std::env::args().nth(1).as_deref() != Some("raw");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        match framed {
            true => tokio::spawn(by_frames(stream)),
            false => tokio::spawn(by_bytes(stream)),
        };
    }
}

async fn by_frames(mut stream: TcpStream) -> io::Result<()> {
    let mut codec = LengthDelimitedCodec::new();
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    while stream.read_buf(&mut input).await? > 0 {
        while let Some(message) = codec.decode(&mut input)? {
            codec.encode(message.freeze(), &mut output)?;
        }
        stream.write_all_buf(&mut output).await?;
    }
    Ok(())
}

async fn by_bytes(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}
