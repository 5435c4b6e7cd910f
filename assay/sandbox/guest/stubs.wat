;; The answers to the interpreter's calls of its host, as functions of its own module (`enclosing`).
;; None calls another: functions have other numbers there. Errors are WASI's: 8 is a bad descriptor, 70 a descriptor without a place to seek.

;; --- ends. A program ends by its call of proc_exit, and in no other way with success: a return
;; from the request's function, or a trap, leaves $end at 0. No store reaches these globals.

(func (export "proc_exit") (param $status i32)
  (global.set $end (i32.const 1))
  ;; as a shell shows it: os._exit(256) is a success
  (global.set $status (i32.and (local.get $status) (i32.const 255)))
  (unreachable))

;; --- streams. Input is what the host wrote from $given to $given_end, output goes from $written to
;; $written_end. Nobody reads standard error, and writing there costs its instructions.

(func (export "fd_read")
  (param $descriptor i32) (param $pieces i32) (param $count i32) (param $done i32) (result i32)
  (local $before i32) (local $size i32)
  (if (local.get $descriptor) (then (return (i32.const 8))))
  (local.set $before (global.get $given))
  (block $end (loop $more
    (br_if $end (i32.eqz (local.get $count)))
    (local.set $size (i32.load offset=4 (local.get $pieces)))
    (if (i32.gt_u (local.get $size) (i32.sub (global.get $given_end) (global.get $given)))
      (then (local.set $size (i32.sub (global.get $given_end) (global.get $given)))))
    (memory.copy (i32.load (local.get $pieces)) (global.get $given) (local.get $size))
    (global.set $given (i32.add (global.get $given) (local.get $size)))
    (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
    (br $more)))
  (i32.store (local.get $done) (i32.sub (global.get $given) (local.get $before)))
  (i32.const 0))

;; Output beyond its room ends the program: a short write would be tried again for ever.
(func (export "fd_write")
  (param $descriptor i32) (param $pieces i32) (param $count i32) (param $done i32) (result i32)
  (local $total i32) (local $size i32)
  (if (i32.gt_u (i32.sub (local.get $descriptor) (i32.const 1)) (i32.const 1))
    (then (return (i32.const 8))))
  (block $end (loop $more
    (br_if $end (i32.eqz (local.get $count)))
    (local.set $size (i32.load offset=4 (local.get $pieces)))
    (local.set $total (i32.add (local.get $total) (local.get $size)))
    (if (i32.eq (local.get $descriptor) (i32.const 1)) (then
      (if (i32.gt_u (local.get $size) (i32.sub (global.get $written_end) (global.get $written)))
        (then (global.set $end (i32.const 2)) (unreachable)))
      (memory.copy (global.get $written) (i32.load (local.get $pieces)) (local.get $size))
      (global.set $written (i32.add (global.get $written) (local.get $size)))))
    (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
    (br $more)))
  (i32.store (local.get $done) (local.get $total))
  (i32.const 0))

;; The three streams are character devices with every right: Python opens them as such, and takes
;; none for a terminal.
(func (export "fd_fdstat_get") (param $descriptor i32) (param $place i32) (result i32)
  (if (i32.gt_u (local.get $descriptor) (i32.const 2)) (then (return (i32.const 8))))
  (i64.store (local.get $place) (i64.const 2))
  (i64.store offset=8 (local.get $place) (i64.const -1))
  (i64.store offset=16 (local.get $place) (i64.const -1))
  (i32.const 0))

;; Device, number, kind, links, size and three times.
(func (export "fd_filestat_get") (param $descriptor i32) (param $place i32) (result i32)
  (if (i32.gt_u (local.get $descriptor) (i32.const 2)) (then (return (i32.const 8))))
  (memory.fill (local.get $place) (i32.const 0) (i32.const 64))
  (i64.store offset=8 (local.get $place) (i64.extend_i32_u (local.get $descriptor)))
  (i64.store offset=16 (local.get $place) (i64.const 2))
  (i64.store offset=24 (local.get $place) (i64.const 1))
  (i32.const 0))

(func (export "fd_close") (param $descriptor i32) (result i32)
  (select (i32.const 8) (i32.const 0) (i32.gt_u (local.get $descriptor) (i32.const 2))))

(func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 70))

;; There is no folder.
(func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))

;; --- arguments and environment: none.

(func (export "args_sizes_get") (param $count i32) (param $size i32) (result i32)
  (i32.store (local.get $count) (i32.const 0))
  (i32.store (local.get $size) (i32.const 0))
  (i32.const 0))
(func (export "args_get") (param i32 i32) (result i32) (i32.const 0))
(func (export "environ_sizes_get") (param $count i32) (param $size i32) (result i32)
  (i32.store (local.get $count) (i32.const 0))
  (i32.store (local.get $size) (i32.const 0))
  (i32.const 0))
(func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

;; --- time. A unit takes a nanosecond, so a program that stops "after 1.8 seconds" does, after the
;; same work everywhere. $clock is the time at which no unit would be left.

(func (export "clock_time_get") (param i32 i64) (param $place i32) (result i32)
  (i64.store (local.get $place)
    (i64.sub (global.get $clock) (i64.mul (global.get $fuel) (global.get $rate))))
  (i32.const 0))

(func (export "clock_res_get") (param i32) (param $place i32) (result i32)
  (i64.store (local.get $place) (i64.const 1))
  (i32.const 0))

;; A sleep moves the clock and ends at once: one event, without an error. A subscription has its
;; kind at 8, 0 for a clock, its time at 24, and at 40 a flag: whether that is a moment.
(func (export "poll_oneoff")
  (param $asked i32) (param $events i32) (param $count i32) (param $done i32) (result i32)
  (local $time i64) (local $now i64)
  (if (i32.eqz (local.get $count)) (then (return (i32.const 28)))) ;; an invalid argument
  (if (i32.eqz (i32.load8_u offset=8 (local.get $asked))) (then
    (local.set $time (i64.load offset=24 (local.get $asked)))
    (if (i32.and (i32.load16_u offset=40 (local.get $asked)) (i32.const 1)) (then
      (local.set $now
        (i64.sub (global.get $clock) (i64.mul (global.get $fuel) (global.get $rate))))
      (local.set $time (select
        (i64.sub (local.get $time) (local.get $now))
        (i64.const 0)
        (i64.gt_u (local.get $time) (local.get $now))))))
    (global.set $clock (i64.add (global.get $clock) (local.get $time)))))
  (memory.fill (local.get $events) (i32.const 0) (i32.const 32))
  (i64.store (local.get $events) (i64.load (local.get $asked)))
  (i32.store8 offset=10 (local.get $events) (i32.load8_u offset=8 (local.get $asked)))
  (i32.store (local.get $done) (i32.const 1))
  (i32.const 0))

(func (export "sched_yield") (result i32) (i32.const 0))

;; --- randomness: SplitMix64 from the request's seed, a byte of each number.

(func (export "random_get") (param $place i32) (param $size i32) (result i32)
  (local $x i64)
  (block $end (loop $more
    (br_if $end (i32.eqz (local.get $size)))
    (global.set $seed (i64.add (global.get $seed) (i64.const 0x9E3779B97F4A7C15)))
    (local.set $x (global.get $seed))
    (local.set $x (i64.mul
      (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 30)))
      (i64.const 0xBF58476D1CE4E5B9)))
    (local.set $x (i64.mul
      (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 27)))
      (i64.const 0x94D049BB133111EB)))
    (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 31))))
    (i32.store8 (local.get $place) (i32.wrap_i64 (local.get $x)))
    (local.set $place (i32.add (local.get $place) (i32.const 1)))
    (local.set $size (i32.sub (local.get $size) (i32.const 1)))
    (br $more)))
  (i32.const 0))
