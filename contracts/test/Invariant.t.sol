// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ScoreLedger} from "../src/ScoreLedger.sol";
import {SR25519_VERIFY} from "../src/interfaces/ISr25519Verify.sol";
import {Sr25519Mock} from "./Precompiles.sol";
import {Testing, VM} from "./Testing.sol";

/// @dev Everybody at once: three hotkeys, three addresses, three settlements, any order. It keeps
/// the first entry of each settlement, who was rightly bound, and what should not have happened.
contract Crowd {
    ScoreLedger public immutable LEDGER;

    mapping(bytes32 hotkey => address) public bound;
    mapping(bytes32 hotkey => mapping(uint64 epoch => bytes32)) public first;
    uint256 public posts;
    uint256 public wrongs;

    constructor(ScoreLedger ledger) {
        LEDGER = ledger;
    }

    function bindWith(uint8 who, uint8 from, uint8 signer, uint8 age) external {
        (bytes32 hotkey, address caller) = (hotkeyOf(who), addressOf(from));
        (, uint96 nonce) = LEDGER.bindings(hotkey);
        uint96 signed = nonce < age % 3 ? nonce : nonce - (age % 3); // 0: fresh, else a replay
        bytes32 message = LEDGER.computeBindingMessage(hotkey, caller, signed, block.timestamp);
        bytes32 r = keccak256(abi.encode(message, signer % 3));
        Sr25519Mock(SR25519_VERIFY).allow(message, hotkeyOf(signer), r, ~r);
        bool isRight = hotkeyOf(signer) == hotkey && signed == nonce;
        VM.prank(caller);
        try LEDGER.bind(hotkey, block.timestamp, r, ~r) {
            if (!isRight) ++wrongs;
            bound[hotkey] = caller;
        } catch {
            if (isRight) ++wrongs;
        }
    }

    function postWith(uint8 who, uint8 from, uint8 epoch, ScoreLedger.Entry memory entry) external {
        (bytes32 hotkey, address caller) = (hotkeyOf(who), addressOf(from));
        uint64 block_ = epoch % 3;
        bool isRight = bound[hotkey] == caller && entry.scoreRoot != 0 && first[hotkey][block_] == 0;
        VM.prank(caller);
        try LEDGER.post(1, hotkey, block_, entry) {
            if (!isRight) ++wrongs;
            if (first[hotkey][block_] == 0) first[hotkey][block_] = keccak256(abi.encode(entry));
            ++posts;
        } catch {
            if (isRight) ++wrongs;
        }
    }

    function hotkeyOf(uint8 i) public pure returns (bytes32) {
        return keccak256(abi.encode("hotkey", i % 3));
    }

    function addressOf(uint8 i) public pure returns (address) {
        return address(uint160(0x1000) + i % 3);
    }
}

contract InvariantTest is Testing {
    ScoreLedger private ledger;
    Crowd private crowd;

    function setUp() public {
        VM.roll(3);
        VM.etch(SR25519_VERIFY, address(new Sr25519Mock()).code);
        ledger = new ScoreLedger();
        crowd = new Crowd(ledger);
    }

    /// @dev forge asks whom to call.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(crowd);
    }

    function invariant_what_was_posted_first_stands() public view {
        for (uint8 who = 0; who < 3; ++who) {
            bytes32 hotkey = crowd.hotkeyOf(who);
            for (uint64 epoch = 0; epoch < 3; ++epoch) {
                assertEq(ledger.digests(1, hotkey, epoch), crowd.first(hotkey, epoch));
            }
        }
        assertTrue(crowd.posts() <= 9, "more posts than settlements");
    }

    function invariant_only_the_bound_post_and_only_the_signed_are_bound() public view {
        assertTrue(
            crowd.wrongs() == 0, "somebody did what they may not, or could not what they may"
        );
        for (uint8 who = 0; who < 3; ++who) {
            (address poster,) = ledger.bindings(crowd.hotkeyOf(who));
            assertTrue(poster == crowd.bound(crowd.hotkeyOf(who)), "bound to another");
        }
    }

    function invariant_holds_no_money() public view {
        assertTrue(address(ledger).balance == 0, "holds money");
    }
}
