// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ScoreLedger} from "./ScoreLedger.sol";
import {KEYS_PREFIX, STORAGE_QUERY, WEIGHTS_PREFIX} from "./interfaces/StorageQuery.sol";

/// @title Weights on chain against the ledger
/// @notice Reads a validator's weights out of subtensor's storage and says whether they are those
/// it posted. It only reads, and it reads now: the block that a call names, the newest by default.
contract WeightsCheck {
    ScoreLedger public immutable LEDGER;

    /// @dev Of a weight, in storage and under the digest: uid, weight.
    uint256 private constant PAIR_BYTES = 4;

    error PrecompileFailed(address precompile);
    error AnotherHotkey(uint16 netuid, uint16 uid, bytes32 hotkey);
    error MalformedWeights();

    constructor(ScoreLedger ledger) {
        LEDGER = ledger;
    }

    /// @notice Whether a validator's weights on chain are those of a settlement it posted.
    /// @param uid Of the validator's hotkey.
    /// @param entry What it posted: the event's fields.
    /// @return isPosted Whether the ledger holds exactly this entry.
    /// @return isEqual Whether that is so and the weights on chain have its digest.
    /// @return found Digest of the weights on chain.
    function check(
        uint16 netuid,
        uint16 uid,
        bytes32 hotkey,
        uint64 epoch,
        ScoreLedger.Entry calldata entry
    ) external view returns (bool isPosted, bool isEqual, bytes32 found) {
        found = computeWeightsDigest(netuid, uid, hotkey);
        isPosted = LEDGER.isPosted(netuid, hotkey, epoch, entry);
        isEqual = isPosted && found == entry.weightsDigest;
    }

    /// @notice Digest of the weights that a validator has on chain.
    /// @param hotkey Has to hold the uid.
    function computeWeightsDigest(uint16 netuid, uint16 uid, bytes32 hotkey)
        public
        view
        returns (bytes32)
    {
        // no weights are an empty answer, and so is a missing precompile: this one cannot be empty
        bytes memory answer = _read(KEYS_PREFIX, netuid, uid);
        if (answer.length != 32) revert PrecompileFailed(STORAGE_QUERY);
        bytes32 holder = abi.decode(answer, (bytes32));
        if (holder != hotkey) revert AnotherHotkey(netuid, uid, holder);
        return keccak256(_sort(_read(WEIGHTS_PREFIX, netuid, uid)));
    }

    function _read(bytes32 prefix, uint16 netuid, uint16 uid) private view returns (bytes memory) {
        (bool ok, bytes memory answer) =
            STORAGE_QUERY.staticcall(abi.encodePacked(prefix, _swap(netuid), _swap(uid)));
        if (!ok) revert PrecompileFailed(STORAGE_QUERY);
        return answer;
    }

    /// @dev SCALE Vec<(u16, u16)> in any order → big-endian pairs, uid ascending, without zeros.
    function _sort(bytes memory stored) private pure returns (bytes memory) {
        if (stored.length == 0) return stored; // no weights
        (uint256 count, uint256 start) = _readCompact(stored);
        if (stored.length != start + PAIR_BYTES * count) revert MalformedWeights();
        uint256 size = 0;
        for (uint256 i = 0; i < count; ++i) {
            uint256 uid = _readU16(stored, start + PAIR_BYTES * i);
            if (uid >= size) size = uid + 1;
        }
        uint256 named = 0;
        uint256[] memory places = new uint256[](size); // uid → where its pair stands; 0: nowhere
        for (uint256 i = 0; i < count; ++i) {
            uint256 place = start + PAIR_BYTES * i;
            uint256 uid = _readU16(stored, place);
            if (places[uid] != 0) revert MalformedWeights();
            places[uid] = place;
            if (_readU16(stored, place + 2) != 0) ++named;
        }
        bytes memory sorted = new bytes(PAIR_BYTES * named);
        uint256 length = 0;
        for (uint256 uid = 0; uid < size; ++uid) {
            uint256 place = places[uid];
            if (place == 0 || _readU16(stored, place + 2) == 0) continue;
            sorted[length++] = stored[place + 1];
            sorted[length++] = stored[place];
            sorted[length++] = stored[place + 3];
            sorted[length++] = stored[place + 2];
        }
        return sorted;
    }

    /// @dev A SCALE compact integer below 2^30, and how many bytes it takes.
    function _readCompact(bytes memory data) private pure returns (uint256 value, uint256 size) {
        uint256 mode = uint8(data[0]) & 3;
        if (mode == 3) revert MalformedWeights(); // more than storage can hold
        size = 1 << mode;
        if (data.length < size) revert MalformedWeights();
        for (uint256 i = 0; i < size; ++i) {
            value |= uint256(uint8(data[i])) << (8 * i);
        }
        value >>= 2;
    }

    function _readU16(bytes memory data, uint256 offset) private pure returns (uint256) {
        return uint256(uint8(data[offset])) | (uint256(uint8(data[offset + 1])) << 8);
    }

    function _swap(uint16 value) private pure returns (uint16) {
        return (value >> 8) | (value << 8);
    }
}
