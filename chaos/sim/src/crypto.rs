//! TLS whose randomness comes from the seed. With keys of the kernel's making, packets that cannot be decrypted (after a
//! restart, or twice on the wire) would decode to something else in each run, and QUIC acts on some of it.
//!
//! Everything but the randomness is the product's: *ring*'s cipher suites and signatures, and X25519 (RFC 7748).

use crate::random::stream;
use rand::{Rng, rngs::SmallRng};
use rustls::{
    Error, NamedGroup, PeerMisbehaved,
    crypto::{ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup, ring},
    ffdhe_groups::FfdheGroup,
};
use std::{cell::RefCell, sync::Arc};
use x25519_dalek::{PublicKey, StaticSecret};

thread_local! {
    /// The library wants providers of static life, so the present run's randomness is the thread's.
    static RNG: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// The provider for the run of this seed, which must run on this thread.
pub(crate) fn provider(seed: u64) -> Arc<CryptoProvider> {
    RNG.set(Some(stream(seed, "crypto")));
    let kx_groups = vec![&X25519 as &dyn SupportedKxGroup];
    Arc::new(CryptoProvider { kx_groups, secure_random: &Seeded, ..ring::default_provider() })
}

fn fill(buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
    RNG.with_borrow_mut(|rng| {
        rng.as_mut().ok_or(GetRandomFailed)?.fill_bytes(buffer);
        Ok(())
    })
}

#[derive(Debug)]
struct Seeded;

impl SecureRandom for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        fill(buffer)
    }
}

#[derive(Debug)]
struct X25519;

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut bytes = [0; 32];
        fill(&mut bytes)?;
        let secret = StaticSecret::from(bytes);
        let public = PublicKey::from(&secret);
        Ok(Box::new(Exchange { secret, public }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchange {
    secret: StaticSecret,
    public: PublicKey,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = <[u8; 32]>::try_from(peer).map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(peer));
        Ok(SharedSecret::from(&shared.as_bytes()[..]))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
