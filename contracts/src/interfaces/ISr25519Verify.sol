// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev Where subtensor's runtime checks sr25519 signatures.
address constant SR25519_VERIFY = 0x0000000000000000000000000000000000000403;

/// @title Subtensor's precompile for sr25519 signatures
interface ISr25519Verify {
    /// @param message What was signed: 32 bytes, as they are.
    /// @param publicKey The signer's hotkey.
    /// @param r The signature's first 32 bytes.
    /// @param s Its last 32 bytes.
    /// @return Whether the signature is the key's over the message.
    function verify(bytes32 message, bytes32 publicKey, bytes32 r, bytes32 s)
        external
        pure
        returns (bool);
}
