// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ScoreLedger} from "../src/ScoreLedger.sol";
import {WeightsCheck} from "../src/WeightsCheck.sol";
import {KEYS_PREFIX, STORAGE_QUERY, WEIGHTS_PREFIX} from "../src/interfaces/StorageQuery.sol";
import {Ledgers} from "./Ledgers.sol";
import {Failing, Garbage, StorageMock} from "./Precompiles.sol";
import {VM} from "./Testing.sol";

/// @dev Weights as subtensor stores them against what a validator posted.
contract WeightsCheckTest is Ledgers {
    uint16 private constant UID = 258; // 0x0102: byte order shows

    WeightsCheck private weights;

    function setUp() public override {
        super.setUp();
        VM.etch(STORAGE_QUERY, address(new StorageMock()).code);
        weights = new WeightsCheck(ledger);
        put(KEYS_PREFIX, abi.encode(HOTKEY));
    }

    function test_digest_is_of_big_endian_pairs() public {
        put(WEIGHTS_PREFIX, hex"08" hex"0100ffff" hex"03010200");
        assertEq(digest(), keccak256(hex"0001ffff" hex"01030002"));
    }

    function test_any_order_is_the_same_digest() public {
        put(WEIGHTS_PREFIX, hex"0c" hex"05000100" hex"0201ffff" hex"00000900");
        assertEq(digest(), keccak256(hex"00000009" hex"00050001" hex"0102ffff"));
    }

    function test_zeros_are_left_out() public {
        put(WEIGHTS_PREFIX, hex"0c" hex"00000000" hex"0700ffff" hex"09000000");
        assertEq(digest(), keccak256(hex"0007ffff"));
    }

    function test_no_weights() public {
        assertEq(digest(), keccak256("")); // never set
        put(WEIGHTS_PREFIX, hex"00"); // an empty list
        assertEq(digest(), keccak256(""));
    }

    function test_the_largest_subnet() public {
        bytes memory stored = hex"0110"; // 1,024 pairs: a compact integer of two bytes
        bytes memory expected;
        for (uint16 uid = 0; uid < 1_024; ++uid) {
            bytes1 low = bytes1(uint8(uid & 255));
            stored = bytes.concat(stored, low, bytes1(uint8(uid >> 8)), hex"0100");
            expected = bytes.concat(expected, bytes2(uid), hex"0001");
        }
        put(WEIGHTS_PREFIX, stored);
        assertEq(digest(), keccak256(expected));
    }

    function test_says_whether_they_are_the_posted() public {
        put(WEIGHTS_PREFIX, hex"04" hex"0700ffff");
        ScoreLedger.Entry memory entry = makeEntry(keccak256("root"));
        entry.weightsDigest = keccak256(hex"0007ffff");
        requireCheck(entry, false, false); // nothing was posted
        post(entry);
        requireCheck(entry, true, true);
        put(WEIGHTS_PREFIX, hex"04" hex"0700feff");
        requireCheck(entry, true, false);
        entry.recordDigest = 0;
        put(WEIGHTS_PREFIX, hex"04" hex"0700ffff");
        requireCheck(entry, false, false); // equal to what was not posted
    }

    function test_uid_of_another_hotkey() public {
        bytes32 other = keccak256("another");
        put(KEYS_PREFIX, abi.encode(other));
        VM.expectRevert(
            abi.encodeWithSelector(WeightsCheck.AnotherHotkey.selector, NETUID, UID, other)
        );
        digest();
    }

    function test_precompile_absent() public {
        VM.etch(STORAGE_QUERY, "");
        refuseForPrecompile();
    }

    function test_precompile_fails() public {
        VM.etch(STORAGE_QUERY, address(new Failing()).code);
        refuseForPrecompile();
    }

    function test_precompile_answers_garbage() public {
        VM.etch(STORAGE_QUERY, address(new Garbage()).code);
        refuseForPrecompile(); // nothing
        Garbage(STORAGE_QUERY).set(abi.encodePacked(HOTKEY, hex"00"));
        refuseForPrecompile();
        // the hotkey itself, as weights
        Garbage(STORAGE_QUERY).set(abi.encode(HOTKEY));
        refuseAsMalformed();
    }

    function test_malformed_weights() public {
        bytes[8] memory values = [
            bytes(hex"04"), // a pair too few
            hex"04" hex"0700ff",
            hex"04" // a byte too many
            hex"0700ffff" hex"00",
            hex"04" hex"0700ffff" hex"0800ffff",
            hex"08" // a uid twice
            hex"0700ffff" hex"0700ffff",
            hex"01", // cut within the count
            hex"020000",
            hex"0300000040" // a count that no storage holds
        ];
        for (uint256 i = 0; i < values.length; ++i) {
            put(WEIGHTS_PREFIX, values[i]);
            refuseAsMalformed();
        }
    }

    function testFuzz_garbage_is_refused_or_read(bytes calldata value) public {
        put(WEIGHTS_PREFIX, value);
        try weights.computeWeightsDigest(NETUID, UID, HOTKEY) {
            bool isWhole = value.length == 0 || value.length % 4 != 3;
            assertTrue(isWhole, "no count leaves this length");
        } catch (bytes memory reason) {
            assertEq(
                keccak256(reason),
                keccak256(abi.encodePacked(WeightsCheck.MalformedWeights.selector))
            );
        }
    }

    function testFuzz_order_and_zeros_change_nothing(uint16[8] memory values, uint256 seed) public {
        uint256[8] memory order = [uint256(0), 1, 2, 3, 4, 5, 6, 7];
        for (uint256 i = 7; i > 0; --i) {
            uint256 j = uint256(keccak256(abi.encode(seed, i))) % (i + 1);
            (order[i], order[j]) = (order[j], order[i]);
        }
        bytes memory stored = hex"20";
        bytes memory expected;
        for (uint256 i = 0; i < 8; ++i) {
            uint16 value = values[order[i]];
            bytes1 low = bytes1(uint8(value & 255));
            bytes1 uid = bytes1(uint8(order[i] & 255));
            stored = bytes.concat(stored, uid, hex"00", low, bytes1(uint8(value >> 8)));
            bytes memory pair = bytes.concat(hex"00", bytes1(uint8(i)), bytes2(values[i]));
            if (values[i] != 0) expected = bytes.concat(expected, pair);
        }
        put(WEIGHTS_PREFIX, stored);
        assertEq(digest(), keccak256(expected));
    }

    function put(bytes32 prefix, bytes memory value) private {
        bytes memory key = abi.encodePacked(prefix, hex"0700", hex"0201"); // little endian
        (bool ok,) = STORAGE_QUERY.call(abi.encodeWithSignature("put(bytes,bytes)", key, value));
        assertTrue(ok, "the mock");
    }

    function digest() private view returns (bytes32) {
        return weights.computeWeightsDigest(NETUID, UID, HOTKEY);
    }

    function requireCheck(ScoreLedger.Entry memory entry, bool posted, bool equal) private view {
        (bool isPosted, bool isEqual, bytes32 found) =
            weights.check(NETUID, UID, HOTKEY, EPOCH, entry);
        assertTrue(isPosted == posted && isEqual == equal, "said otherwise");
        assertEq(found, digest());
    }

    function refuseForPrecompile() private {
        VM.expectRevert(
            abi.encodeWithSelector(WeightsCheck.PrecompileFailed.selector, STORAGE_QUERY)
        );
        digest();
    }

    function refuseAsMalformed() private {
        VM.expectRevert(abi.encodeWithSelector(WeightsCheck.MalformedWeights.selector));
        digest();
    }
}
