package privacy

import (
	"container/list"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"
	"weak"
)

const (
	rootSize   = 32
	storedSize = 12 + rootSize + 16 // nonce, key, tag
	sealedV1   = 1                  // first byte of what Seal returns: AES-256-GCM with a random nonce
)

// Subject is a data subject with its key at hand. It is for the command under way: keep its ID, not the Subject. The zero
// value is of no use.
type Subject struct {
	id  string
	key *key
}

// ID is the subject's random id, a UUID. It tells nothing of the person.
func (s Subject) ID() string { return s.id }

// Seal encrypts plaintext under the subject's key and binds it to aad, which is not part of the result and must be given
// again to Unseal. The result is 29 bytes longer than plaintext. If the subject is erased meanwhile, nobody can read the result.
func (s Subject) Seal(plaintext, aad []byte) []byte {
	s.key.mu.RLock()
	defer s.key.mu.RUnlock()
	sealed := make([]byte, 1, 1+len(plaintext)+s.key.seal.Overhead())
	sealed[0] = sealedV1
	return s.key.seal.Seal(sealed, nil, plaintext, aad)
}

// Fingerprint returns 32 bytes that are the same for the same content of the same subject, and that cannot be guessed at
// without the key: once it is destroyed they fit nothing.
func (s Subject) Fingerprint(content []byte) []byte {
	s.key.mu.RLock()
	defer s.key.mu.RUnlock()
	h := hmac.New(sha256.New, s.key.fingerprint[:])
	h.Write(content)
	return h.Sum(nil)
}

// key is a subject's key as it is used.
type key struct {
	mu          sync.RWMutex
	seal        cipher.AEAD
	fingerprint [32]byte
}

// newKey derives what is used from what is stored, and wipes root.
func newKey(root *[rootSize]byte) (*key, error) {
	defer clear(root[:])
	sealing, err := derive(root[:], "chuishao subject seal 1")
	if err != nil {
		return nil, err
	}
	defer clear(sealing)
	fingerprint, err := derive(root[:], "chuishao subject fingerprint 1")
	if err != nil {
		return nil, err
	}
	defer clear(fingerprint)
	aead, err := newAEAD(sealing)
	if err != nil {
		return nil, err
	}
	return &key{seal: aead, fingerprint: [32]byte(fingerprint)}, nil
}

// destroy puts keys that nobody knows in place of the subject's, for whoever still holds the Subject. The keys that AES made
// of it go with the memory they were in.
func (k *key) destroy() {
	k.mu.Lock()
	defer k.mu.Unlock()
	rand.Read(k.fingerprint[:])
	var root [rootSize]byte
	rand.Read(root[:])
	if other, err := newAEAD(root[:]); err == nil {
		k.seal = other
	}
}

func (k *key) unseal(sealed, aad []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealedV1 {
		return nil, ErrTampered
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	plaintext, err := k.seal.Open(nil, nil, sealed[1:], aad)
	if err != nil {
		return nil, ErrTampered
	}
	return plaintext, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// derive needs a secret of full strength, as keys made at random are.
func derive(secret []byte, purpose string) ([]byte, error) {
	derived, err := hkdf.Expand(sha256.New, secret, purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return derived, nil
}

// cache holds the keys used last. Of limit 0 it keeps none alive, and only knows who holds which, so that those can be destroyed too.
type cache struct {
	mu        sync.Mutex
	limit     int
	held      map[string]weak.Pointer[key] // of limit 0
	byID      map[string]*list.Element
	order     *list.List // of *cached, the last used in front
	destroyed uint64     // how often drop was called
}

type cached struct {
	id  string
	key *key
}

func newCache(limit int) *cache {
	return &cache{limit: limit, held: map[string]weak.Pointer[key]{}, byID: map[string]*list.Element{}, order: list.New()}
}

// erasures is to be read before a key is read from the database, and handed to put.
func (c *cache) erasures() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.destroyed
}

func (c *cache) get(id string) *key {
	c.mu.Lock()
	defer c.mu.Unlock()
	element := c.byID[id]
	if element == nil {
		return nil
	}
	c.order.MoveToFront(element)
	return element.Value.(*cached).key
}

// put keeps a key unless one was destroyed since: it might be that one. It returns the key to use, so that all who hold the
// same subject hold the same key.
func (c *cache) put(id string, k *key, since uint64) *key {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element := c.byID[id]; element != nil {
		c.order.MoveToFront(element)
		return element.Value.(*cached).key
	}
	if c.limit == 0 {
		return c.hold(id, k)
	}
	if since != c.destroyed {
		return k
	}
	c.byID[id] = c.order.PushFront(&cached{id, k})
	if c.order.Len() > c.limit {
		last := c.order.Remove(c.order.Back()).(*cached)
		delete(c.byID, last.id)
	}
	return k
}

// hold remembers who holds a key for as long as somebody does.
func (c *cache) hold(id string, k *key) *key {
	if same := c.held[id].Value(); same != nil {
		return same
	}
	c.held[id] = weak.Make(k)
	runtime.AddCleanup(k, func(id string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.held[id].Value() == nil {
			delete(c.held, id)
		}
	}, id)
	return k
}

func (c *cache) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.destroyed++
	if element := c.byID[id]; element != nil {
		c.order.Remove(element).(*cached).key.destroy()
		delete(c.byID, id)
	}
	if k := c.held[id].Value(); k != nil {
		k.destroy()
	}
	delete(c.held, id)
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.destroyed++
	clear(c.held)
	clear(c.byID)
	c.order.Init()
}
