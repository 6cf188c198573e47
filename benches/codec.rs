//! What do the steps of a capture cost, each by itself, on one core?
//!
//! Units: bytes of plain input a second. Input: 8 MiB, once of text-like lines (compresses about fourfold, as source code
//! does), once of noise (does not compress, so that sealing is seen alone).
//!
//! Expected on a processor of today with AES and vector instructions: cutting above 1 GB/s, hashing above 1 GB/s,
//! compression at level 3 200–500 MB/s, sealing noise above 600 MB/s (with the vain attempt to compress it and the digest),
//! opening above 500 MB/s. A step below half of that deserves a look.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use larder::codec::{
    ContentSum, Cutter, DataKey, Effort, IdKeys, digest, open_block, public_id_key, public_seed, seal_block,
};
use larder::format::{BlockKind, CHUNK_AVG, CHUNK_MAX, CHUNK_MIN};
use larder::model::EpochId;

const SIZE: usize = 8 << 20;

/// Numbers without pattern (xorshift64*), the same in every run.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    })
}

fn noise() -> Vec<u8> {
    numbers().flat_map(u64::to_le_bytes).take(SIZE).collect()
}

fn text() -> Vec<u8> {
    let words =
        ["static", "return", "struct", "offset", "if (err)", "entry->name", "len", "0x40", "NULL", "page", "lock"];
    let mut out = String::with_capacity(SIZE + 128);
    for n in numbers() {
        let word = |shift: u32| words[usize::try_from((n >> shift) % words.len() as u64).unwrap_or(0)];
        out.extend(["\t", word(0), " ", word(8), " = ", word(16), "(", word(24), ", ", word(32), ");\n"]);
        if out.len() >= SIZE {
            break;
        }
    }
    out.truncate(SIZE);
    out.into_bytes()
}

fn cutting_and_hashing(c: &mut Criterion) {
    let input = text();
    let mut group = c.benchmark_group("input");
    group.throughput(Throughput::Bytes(SIZE as u64));
    let cutter = Cutter::new(&public_seed(), CHUNK_MIN, CHUNK_AVG, CHUNK_MAX);
    group.bench_function("cut", |b| {
        b.iter(|| {
            let (mut rest, mut chunks) = (&input[..], 0);
            while !rest.is_empty() {
                rest = &rest[cutter.next(&rest[..rest.len().min(cutter.max())])..];
                chunks += 1;
            }
            black_box(chunks)
        });
    });
    group.bench_function("hash", |b| b.iter(|| digest(black_box(&input))));
    // What a captured file's content costs: the digest and the CRC-32 that a zip wants.
    group.bench_function("sum of a content", |b| b.iter(|| ContentSum::of(black_box(&input))));
    let ids = IdKeys::new(&public_id_key());
    for (name, size) in
        [("ids of 900 B chunks", 900), ("ids of 4 KiB chunks", 4096), ("ids of 256 KiB chunks", 256 << 10)]
    {
        group.bench_function(name, |b| {
            b.iter(|| {
                input.chunks(size).for_each(|chunk| {
                    black_box(ids.chunk(chunk));
                });
            });
        });
    }
    group.finish();
}

fn blocks(c: &mut Criterion) {
    let (text, noise) = (text(), noise());
    let epoch = EpochId::from_bytes([1; 16]);
    let (open, page, chunk) = (DataKey::none(), DataKey::new(&[2; 32]), DataKey::new(&[3; 32]));
    let block = |keys: (&DataKey, &DataKey), bytes: &[u8]| {
        let items = vec![u32::try_from(bytes.len()).expect("a block is small")];
        seal_block(BlockKind::Data, epoch, keys, bytes, (items, &[]), Effort::USUAL, false)
            .expect("a block can be made")
            .bytes
    };
    let mut group = c.benchmark_group("block");
    group.throughput(Throughput::Bytes(SIZE as u64));
    for kib in [64, 128, 256, 512, 1024, 2048, 4096] {
        let all = |input: &[u8], keys| input.chunks(kib << 10).map(|part| block(keys, part)).collect::<Vec<_>>();
        group.bench_function(BenchmarkId::new("compress", format!("{kib} KiB")), |b| {
            b.iter(|| all(black_box(&text), (&open, &open)));
        });
        group.bench_function(BenchmarkId::new("compress and seal", format!("{kib} KiB")), |b| {
            b.iter(|| all(black_box(&text), (&page, &chunk)));
        });
        group.bench_function(BenchmarkId::new("seal noise", format!("{kib} KiB")), |b| {
            b.iter(|| all(black_box(&noise), (&page, &chunk)));
        });
        let sealed = all(&text, (&page, &chunk));
        group.bench_function(BenchmarkId::new("open", format!("{kib} KiB")), |b| {
            b.iter(|| sealed.iter().for_each(|s| drop(black_box(open_block(s, Some(&page), Some(&chunk))))));
        });
    }
    group.finish();
}

fn main() {
    // Short: the two files of benches together take about a minute.
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .configure_from_args();
    cutting_and_hashing(&mut criterion);
    blocks(&mut criterion);
    criterion.final_summary();
}
