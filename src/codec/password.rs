//! The seal of older archives (`.zip.enc`): salt (16 bytes), nonce (12), the content under AES-256-GCM, tag (16). The key follows from a password by PBKDF2.
//! No magic, no version; nothing but the tag tells whether the password is right and the file whole.
//!
//! The door to AES in counter mode, GHASH and PBKDF2. Written as a stream. Read only after the tag was compared, then at any place: GCM enciphers in counter mode.

use std::io::{self, Read, Seek, SeekFrom, Write};

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher, StreamCipherSeek};
use ctr::Ctr32BE;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::Zeroizing;

use super::seal::{SealError, random_bytes};

const SALT_LEN: usize = 16;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const HEAD_LEN: u64 = (SALT_LEN + NONCE_LEN) as u64;
const BLOCK: usize = 16;
/// How often the password is hashed.
const ROUNDS: u32 = 480_000;
/// Bytes that GCM takes under one nonce: beyond them its counter would begin again.
const CONTENT_MAX: u64 = (1 << 36) - 32;
/// Bytes worked on at a time.
const STEP: usize = 256 << 10;

/// A password. Wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(secret)")
    }
}

impl Password {
    /// These bytes, as they are.
    #[must_use]
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// True if there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that follows from it. Takes a moment, on purpose.
    fn key(&self, salt: &[u8; SALT_LEN]) -> Key {
        let mut key = Key::default();
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(&self.0, salt, ROUNDS, key.as_mut());
        key
    }
}

/// What cannot be read of such a file.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It is too short, or longer than its cipher allows.
    #[error("no file of {0} bytes is sealed with a password")]
    Length(u64),
    /// The tag is another.
    #[error("the password does not open it, or it is damaged")]
    DoesNotOpen,
}

/// The cipher of one file: counter mode and the hash over what it gives.
struct Cipher {
    stream: Ctr32BE<Aes256>,
    hash: GHash,
    /// What the tag is masked with.
    mask: [u8; TAG_LEN],
}

type Key = Zeroizing<[u8; 32]>;

impl Cipher {
    fn new(key: &[u8; 32], nonce: &[u8; NONCE_LEN]) -> Self {
        let mut hash_key = ghash::Key::default();
        Aes256::new(key.into()).encrypt_block(&mut hash_key);
        let hash = GHash::new(&hash_key);
        let mut first = [0; BLOCK];
        first[..NONCE_LEN].copy_from_slice(nonce);
        first[BLOCK - 1] = 1;
        let mut stream = Ctr32BE::<Aes256>::new(key.into(), (&first).into());
        let mut mask = [0; TAG_LEN];
        stream.apply_keystream(&mut mask);
        Self { stream, hash, mask }
    }

    /// The tag, once all but the length was hashed.
    fn tag(mut hash: GHash, mask: [u8; TAG_LEN], len: u64) -> [u8; TAG_LEN] {
        let mut lengths = ghash::Block::default();
        lengths[8..].copy_from_slice(&(len * 8).to_be_bytes());
        hash.update(&[lengths]);
        let mut tag = mask;
        tag.iter_mut().zip(hash.finalize()).for_each(|(a, b)| *a ^= b);
        tag
    }
}

/// A stream sealed with a password.
///
/// Dropped before [`Self::finish`], it has no tag, and nobody opens it.
pub struct PasswordWriter<W: Write> {
    out: W,
    cipher: Cipher,
    buffer: Vec<u8>,
    len: u64,
}

impl<W: Write> std::fmt::Debug for PasswordWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordWriter")
    }
}

impl<W: Write> PasswordWriter<W> {
    /// A file that goes to `out`, with a salt and a nonce of its own. Takes a moment: the password is hashed.
    ///
    /// # Errors
    /// If the system gives no randomness, or nothing can be written.
    pub fn new(out: W, password: &Password) -> io::Result<Self> {
        let random = |e: SealError| io::Error::other(e);
        let (salt, nonce) = (random_bytes().map_err(random)?, random_bytes().map_err(random)?);
        Self::with(out, &password.key(&salt), salt, nonce)
    }

    fn with(mut out: W, key: &Key, salt: [u8; SALT_LEN], nonce: [u8; NONCE_LEN]) -> io::Result<Self> {
        out.write_all(&salt)?;
        out.write_all(&nonce)?;
        let cipher = Cipher::new(key, &nonce);
        Ok(Self { out, cipher, buffer: Vec::with_capacity(STEP), len: 0 })
    }

    fn encrypt(&mut self) -> io::Result<()> {
        self.cipher.stream.apply_keystream(&mut self.buffer);
        self.cipher.hash.update_padded(&self.buffer);
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.encrypt()?;
        let tag = Cipher::tag(self.cipher.hash, self.cipher.mask, self.len);
        self.out.write_all(&tag)?;
        Ok(self.out)
    }
}

impl<W: Write> Write for PasswordWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // STEP is a multiple of the hash's blocks: only the last ones are padded.
        if self.buffer.len() == STEP {
            self.encrypt()?;
        }
        let len = bytes.len().min(STEP - self.buffer.len());
        if self.len + len as u64 > CONTENT_MAX {
            let text = "a zip.enc holds 64 GiB at most, as its cipher allows; seal it with --recipient or --passphrase";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        self.buffer.extend_from_slice(&bytes[..len]);
        self.len += len as u64;
        Ok(len)
    }

    /// What the cipher holds stays until there is more, or the end.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A file sealed with a password, whose tag was compared: at any place of its content.
pub struct PasswordReader<R> {
    from: R,
    stream: Ctr32BE<Aes256>,
    len: u64,
    at: u64,
}

impl<R> std::fmt::Debug for PasswordReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordReader")
    }
}

impl<R: Read + Seek> PasswordReader<R> {
    /// Reads all of it once, to compare its tag: before that nothing of it is given. `watch` is asked now and then, with the bytes read since, and may end it.
    ///
    /// # Errors
    /// [`PasswordError::DoesNotOpen`] if the password is another, or the file.
    pub fn new(
        from: R,
        password: &Password,
        watch: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<Self, PasswordError> {
        Self::with(from, |salt| password.key(salt), watch)
    }

    fn with(
        mut from: R,
        key: impl FnOnce(&[u8; SALT_LEN]) -> Key,
        watch: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<Self, PasswordError> {
        let whole = from.seek(SeekFrom::End(0))?;
        let len = whole.checked_sub(HEAD_LEN + TAG_LEN as u64).filter(|len| *len <= CONTENT_MAX);
        let len = len.ok_or(PasswordError::Length(whole))?;
        let (mut salt, mut nonce, mut found) = ([0; SALT_LEN], [0; NONCE_LEN], [0; TAG_LEN]);
        from.rewind()?;
        from.read_exact(&mut salt)?;
        from.read_exact(&mut nonce)?;
        let Cipher { stream, mut hash, mask } = Cipher::new(&key(&salt), &nonce);
        let mut buffer = vec![0; STEP];
        let mut rest = len;
        while rest > 0 {
            let step = usize::try_from(rest).unwrap_or(STEP).min(STEP);
            from.read_exact(&mut buffer[..step])?;
            hash.update_padded(&buffer[..step]);
            rest -= step as u64;
            watch(step as u64)?;
        }
        from.read_exact(&mut found)?;
        let tag = Cipher::tag(hash, mask, len);
        if tag.iter().zip(found).fold(0, |sum, (a, b)| sum | (a ^ b)) != 0 {
            return Err(PasswordError::DoesNotOpen);
        }
        from.seek(SeekFrom::Start(HEAD_LEN))?;
        Ok(Self { from, stream, len, at: 0 })
    }
}

impl<R: Read> Read for PasswordReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.len - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let len = self.from.read(&mut buffer[..most])?;
        if len == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter"));
        }
        // The first block of the key stream masks the tag.
        self.stream.try_seek(BLOCK as u64 + self.at).map_err(io::Error::other)?;
        self.stream.try_apply_keystream(&mut buffer[..len]).map_err(io::Error::other)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl<R: Seek> Seek for PasswordReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        // Behind the end there is nothing, wherever one stands.
        let at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "in front of the start"))?.min(self.len);
        // What is buffered stays so, if this only asks where it stands.
        if at != self.at {
            self.from.seek(SeekFrom::Start(HEAD_LEN + at))?;
            self.at = at;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn key(first: u8) -> Key {
        let mut key = Key::new([3; 32]);
        key[0] = first;
        key
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut writer = PasswordWriter::with(Vec::new(), &key(7), [7; 16], [9; 12]).unwrap();
        content.chunks(1000).for_each(|slice| writer.write_all(slice).unwrap());
        writer.finish().unwrap()
    }

    /// The key follows from the first byte of the salt.
    fn open(bytes: &[u8]) -> Result<PasswordReader<Cursor<Vec<u8>>>, PasswordError> {
        PasswordReader::with(Cursor::new(bytes.to_vec()), |salt| key(salt[0]), &mut |_| Ok(()))
    }

    /// The same by the AEAD that seals blocks, which is another implementation of the whole.
    #[test]
    fn it_is_plain_gcm() {
        use aes_gcm::aead::AeadInOut;
        for len in [0, 1, 15, 16, 17, STEP - 1, STEP, STEP + 5] {
            let content: Vec<u8> = (0..=250).cycle().take(len).collect();
            let cipher = aes_gcm::Aes256Gcm::new((&*key(7)).into());
            let mut expected = content.clone();
            let tag = cipher.encrypt_inout_detached(&[9; 12].into(), b"", expected.as_mut_slice().into()).unwrap();
            let expected = [&[7; 16][..], &[9; 12], &expected, &tag].concat();
            assert!(sealed(&content) == expected, "{len}");
        }
    }

    #[test]
    fn read_at_any_place() {
        let content: Vec<u8> = (0..=250).cycle().take(STEP + 77).collect();
        let mut reader = open(&sealed(&content)).unwrap();
        for at in [0, 1, 15, 16, 17, 31, STEP - 3, STEP + 70, STEP + 77] {
            reader.seek(SeekFrom::Start(at as u64)).unwrap();
            let mut found = Vec::new();
            reader.by_ref().take(40).read_to_end(&mut found).unwrap();
            assert_eq!(found, content[at..(at + 40).min(content.len())], "{at}");
        }
        assert_eq!(reader.seek(SeekFrom::End(-7)).unwrap(), STEP as u64 + 70);
        assert_eq!(reader.seek(SeekFrom::Current(-70)).unwrap(), STEP as u64);
        assert!(reader.seek(SeekFrom::Current(-(1 << 40))).is_err());
        let mut rest = Vec::new();
        reader.rewind().unwrap();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest == content);
    }

    #[test]
    fn nothing_is_given_of_what_is_not_proved() {
        let whole = sealed(b"a zip in truth");
        for at in [0, 16, 28, 30, whole.len() - 1] {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert!(matches!(open(&bad), Err(PasswordError::DoesNotOpen)), "{at}");
        }
        assert!(matches!(open(&whole[..whole.len() - 1]), Err(PasswordError::DoesNotOpen)));
        assert!(matches!(open(&whole[..43]), Err(PasswordError::Length(43))));
    }

    #[test]
    fn more_than_the_cipher_takes_is_refused() {
        let mut writer = PasswordWriter::with(io::sink(), &key(0), [0; 16], [0; 12]).unwrap();
        writer.len = CONTENT_MAX - 3;
        assert!(writer.write_all(b"123").is_ok());
        assert_eq!(writer.write_all(b"4").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
