// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev Where subtensor's runtime reads its own storage. The call's data is a raw storage key and
/// the answer the raw value, empty where there is none: no selector, no ABI.
address constant STORAGE_QUERY = 0x0000000000000000000000000000000000000807;

/// @dev twox128("SubtensorModule") then twox128("Weights"): netuid, uid → SCALE Vec<(u16, u16)>,
/// both parts of the key u16, little endian.
bytes32 constant WEIGHTS_PREFIX =
    0x658faa385070e074c85bf6b568cf0555a1e7036061f484bc3048a64b64e35ec4;

/// @dev twox128("SubtensorModule") then twox128("Keys"): netuid, uid → hotkey, 32 bytes.
bytes32 constant KEYS_PREFIX = 0x658faa385070e074c85bf6b568cf05559f99a2ce711f3a31b2fc05604c93f179;
