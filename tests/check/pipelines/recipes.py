#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The recipes of pipelines/, each run as a user would.

MT3_BUILD_DIR and MT3_TINY_MODEL come from meson.build. What the random model
writes is noise; that it arrives whole is what counts here.
"""
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import wave
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PIPELINES = ROOT / 'pipelines'
MODEL = os.environ['MT3_TINY_MODEL']
sys.path.insert(0, str(PIPELINES))
from midi_notes import read_notes  # noqa: E402


class Recipe(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = Path(folder.name)
        self.env = {**os.environ, 'GST_MT3_MODEL': MODEL,
                    'GST_REGISTRY': str(self.dir / 'registry.bin')}

    def run_apart(self, name, *args, code=0, stderr=subprocess.PIPE):
        """Returns what it wrote to stdout and to stderr."""
        interpreter = [sys.executable] if name.endswith('.py') else []
        result = subprocess.run(
            ['timeout', '120', *interpreter, PIPELINES / name, *args],
            cwd=self.dir, env=self.env, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=stderr)
        self.assertEqual(result.returncode, code,
                         (result.stdout, result.stderr))
        return result.stdout, result.stderr

    def run_recipe(self, name, *args, code=0):
        return self.run_apart(name, *args, code=code,
                              stderr=subprocess.STDOUT)[0]

    def launch(self, *description):
        subprocess.run(['gst-launch-1.0', '-q', *' '.join(
            description).split()], cwd=self.dir, check=True)

    def make_audio(self, name, seconds=3):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.launch(f'audiotestsrc wave=saw num-buffers={seconds * 10}',
                    'samplesperbuffer=4410 ! audio/x-raw,rate=44100 !',
                    f'flacenc ! filesink location={name}')
        return path

    def assertIsMidi(self, path):
        self.assertEqual(path.read_bytes()[:4], b'MThd')
        read_notes(path)

    def assertNothingLeft(self, *names):
        left = {str(path.relative_to(self.dir))
                for path in self.dir.rglob('*') if path.is_file()}
        self.assertEqual(left - {'registry.bin'}, set(names))


class EarlyError(Recipe):
    """An error that comes before the main loop of gst-launch-1.0 runs: that
    waits until a source could open its file."""

    SOURCE = ('filesrc location=late ! identity '
              'filesrc location=a.txt ! decodebin')

    def assertEnds(self, *command):
        (self.dir / 'a.txt').write_text('no audio at all')
        os.mkfifo(self.dir / 'late')
        errors = self.dir / 'tmp.errors'
        self.env['TMPDIR'] = str(self.dir)  # where env.sh keeps them
        with errors.open('w') as stderr, subprocess.Popen(
                ['timeout', '20', *command], cwd=self.dir, env=self.env,
                stdout=subprocess.DEVNULL, stderr=stderr) as running:
            while not any('Internal data stream error' in path.read_text()
                          for path in self.dir.glob('tmp.*')):
                self.assertIsNone(running.poll())
                time.sleep(0.01)
            time.sleep(0.01)
            (self.dir / 'late').write_text('')
        said = errors.read_text()
        self.assertEqual(running.returncode, 1, said)
        self.assertIn('Could not determine type of stream', said)

    def test_ends_a_transcription(self):
        self.assertEnds(
            'bash', '-c', 'source "$0"/env.sh; transcribe a.txt 0 "$@"',
            PIPELINES, *f'{self.SOURCE} ! mt3transcribe ! fakesink'.split())

    def test_ends_what_is_live(self):
        self.env['SINK'] = 'fakesink'
        self.assertEnds(PIPELINES / 'play-live.sh', self.SOURCE)


class CudaEngine(Recipe):
    """A build whose CUDA engine is the stand-in of the engine's tests."""

    def setUp(self):
        super().setUp()
        self.real = Path(os.environ['MT3_BUILD_DIR'])
        (self.dir / 'built/ext/mt3/engine/cuda').mkdir(parents=True)
        (self.dir / 'built/ext/mt3/element').symlink_to(
            self.real / 'ext/mt3/element')
        self.env['MT3_BUILD_DIR'] = str(self.dir / 'built')
        self.env.pop('GST_MT3_MODULE_DIR', None)
        self.make_audio('in/a.flac', 30)

    def build(self, kind):
        (self.dir / 'built/ext/mt3/engine/cuda/libmt3cuda.so').symlink_to(
            self.real / f'tests/check/engine/libmt3fake-{kind}.so')

    def test_of_the_tree_is_found_and_a_warning_passed_on_when_it_fails(self):
        self.build('good')
        self.env['FAKE_FAIL_DECODE'] = '3'
        _, said = self.run_apart('transcribe-file.sh', 'in/a.flac', 'a.mid',
                                 'max-tokens=20')
        self.assertIn('goes on with the CPU', said)
        self.assertIsMidi(self.dir / 'a.mid')

    def test_of_the_tree_is_found_by_recipes_in_python(self):
        self.build('unready')
        self.assertIn('the test has no driver', self.run_recipe(
            'transcribe-folder.py', 'in', 'out', '--device=cuda', code=1))

    def test_is_another_one_where_its_folder_is_named(self):
        self.build('good')
        self.env['GST_MT3_MODULE_DIR'] = '/nonexistent'
        for recipe, *args in (
                ('transcribe-file.sh', 'in/a.flac', 'a.mid', 'device=cuda'),
                ('transcribe-folder.py', 'in', 'out', '--device=cuda')):
            with self.subTest(recipe):
                self.assertIn('no /nonexistent/libmt3cuda.so',
                              self.run_recipe(recipe, *args, code=1))


class Usage(Recipe):
    def test_every_script_says_how_it_is_used(self):
        for script in ('transcribe-file.sh', 'only-instruments.sh',
                       'video-to-midi.sh',
                       'play-midi.sh', 'play-live.sh', 'convert-model.sh',
                       'install-packages.sh', 'build-package.sh',
                       'notes-jsonl', 'demo-piece.py', 'piano-roll.py',
                       'transcribe-folder.py'):
            with self.subTest(script):
                answer, complaint = self.run_apart(script, code=2)
                self.assertEqual(answer, '')
                self.assertIn(f'usage: {script}', complaint)

    def test_every_script_explains_itself_when_asked(self):
        for script in ('transcribe-file.sh', 'only-instruments.sh',
                       'video-to-midi.sh', 'play-midi.sh', 'play-live.sh',
                       'convert-model.sh', 'install-packages.sh',
                       'build-package.sh', 'quickstart.sh', 'demo-piece.py',
                       'piano-roll.py', 'transcribe-folder.py',
                       'live-monitor.py'):
            for option in ('-h', '--help'):
                with self.subTest(script, option=option):
                    answer, complaint = self.run_apart(script, option)
                    self.assertIn(f'usage: {script}', answer)
                    self.assertEqual(complaint, '')


class InstallPackages(Recipe):
    def test_names_the_groups_where_one_is_unknown(self):
        for group in ('nonesuch', 'run recipes', ''):
            with self.subTest(group):
                answer, complaint = self.run_apart(
                    'install-packages.sh', group, code=1)
                self.assertEqual(answer, '')
                self.assertIn(f'there is no group {group}, only', complaint)
                self.assertIn('build run recipes', complaint)


class TranscribeFile(Recipe):
    def test_writes_a_midi_file(self):
        self.make_audio('a.flac')
        self.run_recipe('transcribe-file.sh', 'a.flac', 'a.mid')
        self.assertIsMidi(self.dir / 'a.mid')
        self.assertNothingLeft('a.flac', 'a.mid')

    def test_says_how_far_it_is_in_any_language(self):
        self.make_audio('a.flac')
        for language in ('en', 'de', 'fr'):
            with self.subTest(language):
                self.env.update(LC_ALL='C.UTF-8', LANGUAGE=language)
                self.assertIn('100', self.run_recipe(
                    'transcribe-file.sh', 'a.flac', 'a.mid'))

    def test_searches_with_beams_on_the_cpu_alone(self):
        self.make_audio('a.flac')
        self.run_recipe('transcribe-file.sh', 'a.flac', 'a.mid', 'beam-size=4',
                        'programs=piano')
        self.assertIsMidi(self.dir / 'a.mid')
        self.assertIn('use device=cpu', self.run_recipe(
            'transcribe-file.sh', 'a.flac', 'b.mid', 'beam-size=4',
            'device=cuda', code=1))
        self.assertNothingLeft('a.flac', 'a.mid')

    def test_reads_the_common_formats(self):
        for name, encoder in (
                ('a.mp3', 'lamemp3enc'), ('a.wav', 'wavenc'),
                ('a.ogg', 'vorbisenc ! oggmux'),
                ('a.opus', 'audioresample ! opusenc ! oggmux'),
                ('a.m4a', 'voaacenc ! mp4mux'),
                ('a.mkv', 'flacenc ! matroskamux')):
            with self.subTest(name):
                self.launch('audiotestsrc wave=saw num-buffers=100 !',
                            'audio/x-raw,rate=44100,channels=2 !',
                            f'audioconvert ! {encoder} !',
                            f'filesink location={name}')
                self.run_recipe('transcribe-file.sh', name, f'{name}.mid')
                self.assertIsMidi(self.dir / f'{name}.mid')

    def test_passes_properties_on(self):
        self.env['GST_MT3_MODEL'] = '/nonexistent'
        self.make_audio('a.flac')
        self.run_recipe('transcribe-file.sh', 'a.flac', 'a.mid',
                        f'model-file={MODEL}', 'device=cpu')
        self.assertIsMidi(self.dir / 'a.mid')

    def test_names_a_folder_that_is_not_there(self):
        self.make_audio('a.flac')
        self.assertIn('there is no folder none', self.run_recipe(
            'transcribe-file.sh', 'a.flac', 'none/a.mid', code=1))

    def test_reads_and_writes_odd_names(self):
        for name in ('a b', "it's \"odd\"", 'back\\slash', 'ü!=(x)'):
            with self.subTest(name):
                self.make_audio('a.flac').rename(self.dir / f'{name}.flac')
                self.run_recipe('transcribe-file.sh', f'{name}.flac',
                                f'{name}.mid')
                self.assertIsMidi(self.dir / f'{name}.mid')

    def test_refuses_a_folder_as_output(self):
        self.make_audio('a.flac')
        self.assertIn('. is a folder', self.run_recipe(
            'transcribe-file.sh', 'a.flac', '.', code=1))
        self.assertNothingLeft('a.flac')

    def interrupt(self, before, *properties):
        """Transcribes a long a.flac to a.mid; then Ctrl-C. before: what the
        child begins with; properties: with these notes are there by then."""
        self.make_audio('a.flac', 300)
        (self.dir / 'a.mid').write_text('old')
        with subprocess.Popen(
                [PIPELINES / 'transcribe-file.sh', 'a.flac', 'a.mid',
                 *properties], cwd=self.dir, env=self.env,
                start_new_session=True, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, preexec_fn=before) as running:
            written = -1
            while written < bool(properties):
                self.assertNotEqual(running.stdout.readline(), b'')
                written = (self.dir / '.a.mid.part').stat().st_size
            os.killpg(running.pid, signal.SIGINT)
            running.stdout.read()  # what is still said, or it ends by SIGPIPE
        return running.returncode

    def test_keeps_the_old_output_when_interrupted(self):
        # At a terminal; and as in the background of a script, where Ctrl-C
        # leaves bash alone. So it does gst-launch-1.0, until that plays.
        for before in (None, lambda: signal.signal(
                signal.SIGINT, signal.SIG_IGN)):
            # With notes written so far, and without.
            for properties in ((), ('update-interval=1000000000',)):
                with self.subTest(ignored=before is not None,
                                  properties=properties):
                    self.assertEqual(
                        self.interrupt(before, *properties), 130)
                    self.assertEqual((self.dir / 'a.mid').read_text(), 'old')
                    self.assertNothingLeft('a.flac', 'a.mid')

    def test_names_a_missing_input(self):
        self.assertIn('there is no file none.flac', self.run_recipe(
            'transcribe-file.sh', 'none.flac', 'a.mid', code=1))

    def test_leaves_no_output_when_the_input_has_no_audio(self):
        (self.dir / 'a.flac').write_text('no audio at all')
        self.run_recipe('transcribe-file.sh', 'a.flac', 'a.mid', code=1)
        self.assertNothingLeft('a.flac')

    def test_leaves_no_output_without_a_model(self):
        self.make_audio('a.flac')
        answer = self.run_recipe('transcribe-file.sh', 'a.flac', 'a.mid',
                                 'model-file=/nonexistent', code=1)
        self.assertIn('/nonexistent', answer)
        self.assertNothingLeft('a.flac')


class OnlyInstruments(Recipe):
    def instruments_of(self, name):
        return {'drums' if note.is_drum else note.program
                for note in read_notes(self.dir / name)}

    def test_writes_no_others(self):
        self.make_audio('a.flac', seconds=10)
        self.run_recipe('transcribe-file.sh', 'a.flac', 'all.mid')
        for names, allowed in (('drums', {'drums'}),
                               ('Lead 8 (bass + lead), 3', {87, 3})):
            with self.subTest(names):
                self.run_recipe('only-instruments.sh', names, 'a.flac',
                                'a.mid')
                self.assertLessEqual(self.instruments_of('a.mid'), allowed)
        self.assertFalse(self.instruments_of('all.mid') <= allowed)

    def test_says_which_instrument_it_does_not_know(self):
        self.make_audio('a.flac')
        self.assertIn("'kazoo' is no instrument", self.run_recipe(
            'only-instruments.sh', 'piano,kazoo', 'a.flac', 'a.mid', code=1))
        self.assertNothingLeft('a.flac')


class TranscribeFolder(Recipe):
    def test_mirrors_the_folders_of_its_input(self):
        self.make_audio('in/a.flac')
        self.make_audio('in/b/c.flac')
        self.run_recipe('transcribe-folder.py', 'in', 'out')
        self.assertIsMidi(self.dir / 'out/a.mid')
        self.assertIsMidi(self.dir / 'out/b/c.mid')
        self.assertNothingLeft('in/a.flac', 'in/b/c.flac', 'out/a.mid',
                               'out/b/c.mid')

    def test_gives_what_a_single_file_gives(self):
        for i in range(4):
            self.make_audio(f'in/{i}.flac', 2 + i)
        self.run_recipe('transcribe-folder.py', 'in', 'out', '--jobs=3')
        for i in range(4):
            self.run_recipe('transcribe-file.sh', f'in/{i}.flac', 'one.mid')
            self.assertEqual((self.dir / f'out/{i}.mid').read_bytes(),
                             (self.dir / 'one.mid').read_bytes())

    def test_a_bad_file_does_not_stop_the_others(self):
        self.make_audio('in/a.flac')
        (self.dir / 'in/b.flac').write_text('no audio at all')
        self.make_audio('in/c.flac')
        answer = self.run_recipe('transcribe-folder.py', 'in', 'out', code=1)
        self.assertIn('b.flac: FAILED', answer)
        self.assertIn('1 of 3 files failed', answer)
        self.assertNothingLeft('in/a.flac', 'in/b.flac', 'in/c.flac',
                               'out/a.mid', 'out/c.mid')

    def test_goes_on_where_it_stopped(self):
        self.make_audio('in/a.flac')
        self.make_audio('in/b.flac')
        self.run_recipe('transcribe-folder.py', 'in', 'out')
        (self.dir / 'out/b.mid').unlink()
        answer = self.run_recipe('transcribe-folder.py', 'in', 'out')
        self.assertIn('1 of 2 files are done already', answer)
        self.assertIn('b.flac', answer)
        self.assertNotIn('a.flac', answer)

    def test_refuses_settings_that_cannot_be(self):
        self.make_audio('in/a.flac')
        for setting in ('--device=toaster', '--temperature=0,5',
                        '--batch-size=lots', '--velocity=200'):
            with self.subTest(setting):
                self.assertIn('cannot be', self.run_recipe(
                    'transcribe-folder.py', 'in', 'out', setting, code=2))
        self.assertNothingLeft('in/a.flac')

    def test_takes_what_the_system_does_not_know_by_name(self):
        names = ('a.mka', 'b.caf', 'c.APE', 'd.m2ts', 'e.opus', 'f.wv')
        audio = self.make_audio('a.flac').read_bytes()
        (self.dir / 'in').mkdir()
        for name in (*names, 'notes.txt', 'cover.jpg', 'old.mid', 'code.ts'):
            (self.dir / 'in' / name).write_bytes(
                audio if name in names else b'text')
        (self.dir / 'in/g.ts').write_bytes(b'G' + bytes(187) + b'G')
        answer = self.run_recipe('transcribe-folder.py', 'in', 'out', code=1)
        self.assertEqual({path.stem for path in (self.dir / 'out').iterdir()},
                         set('abcdef'))
        self.assertIn('g.ts: FAILED', answer)
        self.assertIn('4 files (.jpg .mid .ts .txt)', answer)

    def test_follows_links_but_not_in_circles(self):
        self.make_audio('in/a.flac')
        self.make_audio('other/b/c.flac')
        for link, target in (('in/other', 'other'), ('in/again', 'other'),
                             ('in/up', '.'), ('other/b/back', 'in'),
                             ('in/here', 'in')):
            (self.dir / link).symlink_to(self.dir / target)
        answer = self.run_recipe('transcribe-folder.py', 'in', 'out')
        self.assertEqual(
            {str(path.relative_to(self.dir / 'out'))
             for path in (self.dir / 'out').rglob('*.mid')},
            {'a.mid', 'again/b/c.mid'})
        self.assertNotIn('Left out', answer)

    def test_refuses_two_inputs_for_one_output(self):
        self.make_audio('in/a.flac')
        (self.dir / 'in/a.mp3').write_text('')
        self.assertIn('would both become', self.run_recipe(
            'transcribe-folder.py', 'in', 'out', code=1))


class VideoToMidi(Recipe):
    def setUp(self):
        super().setUp()
        self.launch('videotestsrc num-buffers=60 ! jpegenc ! queue ! mux.',
                    'audiotestsrc wave=saw num-buffers=100 ! flacenc !',
                    'queue ! mux. audiotestsrc wave=silence num-buffers=100',
                    '! flacenc ! queue ! mux.',
                    'matroskamux name=mux ! filesink location=v.mkv')

    def test_transcribes_the_track_asked_for(self):
        for track in ('0', '1'):
            self.run_recipe('video-to-midi.sh', 'v.mkv', f'{track}.mid',
                            track)
            self.assertIsMidi(self.dir / f'{track}.mid')
        self.assertNotEqual((self.dir / '0.mid').read_bytes(),
                            (self.dir / '1.mid').read_bytes())

    def test_says_which_track_is_not_there(self):
        for track in ('2', '17'):
            with self.subTest(track):
                self.assertEqual(
                    self.run_recipe('video-to-midi.sh', 'v.mkv', 'a.mid',
                                    track, code=1),
                    f'video-to-midi.sh: there is no audio track {track} in '
                    'v.mkv; the first is 0\n')
        self.assertNothingLeft('v.mkv')

    def test_says_so_where_the_end_comes_first(self):
        self.launch('audiotestsrc num-buffers=8 ! flacenc ! queue !',
                    'matroskamux ! filesink location=short.mkv')
        self.assertIn('there is no audio track 1 in short.mkv',
                      self.run_recipe('video-to-midi.sh', 'short.mkv',
                                      'a.mid', '1', code=1))
        self.assertNothingLeft('v.mkv', 'short.mkv')

    def test_says_that_there_is_no_sound(self):
        self.launch('videotestsrc num-buffers=5 ! jpegenc ! matroskamux !',
                    'filesink location=mute.mkv')
        for script in ('video-to-midi.sh', 'transcribe-file.sh'):
            with self.subTest(script):
                self.assertEqual(
                    self.run_recipe(script, 'mute.mkv', 'a.mid', code=1),
                    f'{script}: there is no sound in mute.mkv\n')
        self.assertNothingLeft('v.mkv', 'mute.mkv')

    def test_names_the_decoder_that_is_missing(self):
        self.env['GST_PLUGIN_FEATURE_RANK'] = 'flacdec:NONE,avdec_flac:NONE'
        self.assertIn('Missing decoder: Free Lossless Audio Codec',
                      self.run_recipe('video-to-midi.sh', 'v.mkv', 'a.mid',
                                      code=1))


class LiveMonitor(Recipe):
    def run_monitor(self, *args):
        lines = self.run_recipe('live-monitor.py', *args, 'max-tokens=8')
        for line in lines.splitlines():
            self.assertRegex(
                line, r'^ +[0-9.]+ s  (drum [0-9]+|[A-G]#?-?[0-9]+ +program )')
        return lines

    def test_prints_the_notes_of_a_file(self):
        self.make_audio('a.flac')
        self.assertNotEqual(self.run_monitor('--file', 'a.flac'), '')

    def test_prints_the_notes_of_a_live_source(self):
        self.run_monitor('--source', 'audiotestsrc is-live=true wave=saw '
                         'samplesperbuffer=4410 num-buffers=30')

    def test_says_what_it_cannot_listen_to(self):
        self.assertIn('nosuchsrc', self.run_recipe(
            'live-monitor.py', '--source', 'nosuchsrc', code=1))

    def test_leaves_at_an_error(self):
        self.assertIn('/nonexistent', self.run_recipe(
            'live-monitor.py', '--source', 'audiotestsrc',
            'model-file=/nonexistent', code=1))

    def test_refuses_settings_that_cannot_be(self):
        for setting, words in (
                ('modelfile=a', 'modelfile is no property of mt3transcribe'),
                ('stats=a', 'stats is no property'),
                ('device=toaster', 'device cannot be toaster'),
                ('velocity=200', 'velocity cannot be 200, but 0 to 127'),
                ('temperature=-1', 'temperature cannot be -1, but 0 to 100')):
            with self.subTest(setting):
                self.assertIn(words, self.run_recipe(
                    'live-monitor.py', setting, code=2))

    def test_names_the_variable_that_names_no_model(self):
        self.env['GST_MT3_MODEL'] = '/nonexistent'
        self.assertIn('which GST_MT3_MODEL names', self.run_recipe(
            'live-monitor.py', '--source', 'audiotestsrc', code=1))


class PlayLive(Recipe):
    def setUp(self):
        super().setUp()
        self.env['SINK'] = ('audio/x-raw,format=S16LE ! wavenc ! '
                            'filesink location=out.wav')

    def assertSounds(self):
        with wave.open(str(self.dir / 'out.wav')) as audio:
            seconds = audio.getnframes() / audio.getframerate()
        self.assertGreater(seconds, 2.5)

    def test_plays_a_file(self):
        self.make_audio('a.flac')
        self.run_recipe('play-live.sh', 'a.flac', 'max-tokens=8')
        self.assertSounds()

    def test_plays_a_live_source(self):
        self.run_recipe(
            'play-live.sh', 'audiotestsrc is-live=true wave=saw '
            'samplesperbuffer=4410 num-buffers=30', 'max-tokens=8')
        self.assertSounds()

    def test_names_a_missing_sound_font(self):
        self.env['SOUNDFONT'] = '/nonexistent.sf2'
        self.assertIn('/nonexistent.sf2', self.run_recipe(
            'play-live.sh', 'audiotestsrc', code=1))


class ConvertModel(Recipe):
    def test_the_element_finds_the_converted_model(self):
        self.env['XDG_DATA_HOME'] = str(self.dir / 'share')
        self.run_recipe('convert-model.sh', MODEL)
        del self.env['GST_MT3_MODEL']
        self.make_audio('a.flac')
        self.run_recipe('transcribe-file.sh', 'a.flac', 'found.mid')
        self.run_recipe('transcribe-file.sh', 'a.flac', 'named.mid',
                        f'model-file={MODEL}')
        self.assertEqual((self.dir / 'found.mid').read_bytes(),
                         (self.dir / 'named.mid').read_bytes())

    def test_names_a_missing_model(self):
        self.assertIn('there is no file or folder none', self.run_recipe(
            'convert-model.sh', 'none', code=1))


class DemoPiece(Recipe):
    def setUp(self):
        super().setUp()
        self.run_recipe('demo-piece.py', 'demo.mid')

    def test_has_piano_cello_flute_and_drums(self):
        notes = read_notes(self.dir / 'demo.mid')
        self.assertEqual({(n.program, n.is_drum) for n in notes},
                         {(0, False), (42, False), (73, False), (0, True)})
        self.assertAlmostEqual(max(n.offset for n in notes), 39.5 * 0.6)

    def test_sounds(self):
        self.run_recipe('play-midi.sh', 'demo.mid', 'demo.wav')
        with wave.open(str(self.dir / 'demo.wav')) as audio:
            self.assertGreater(audio.getnframes() / audio.getframerate(), 24)
            self.assertTrue(any(audio.readframes(44100)))

    def test_says_where_its_sound_cannot_be_written(self):
        (self.dir / 'folder').mkdir()
        for name in ('/nonexistent/demo.wav', 'folder'):
            with self.subTest(name):
                self.assertIn(f'cannot write {name}', self.run_recipe(
                    'play-midi.sh', 'demo.mid', name, code=1))

    def test_draws_as_a_piano_roll(self):
        from PIL import Image
        self.run_recipe('piano-roll.py', 'demo.mid', 'demo.png')
        with Image.open(self.dir / 'demo.png') as picture:
            colours = {colour for _, colour in picture.getcolors(10000)}
        self.assertGreaterEqual(colours, {
            (0x3b, 0x78, 0xc2), (0xd4, 0x77, 0x2c), (0x3f, 0x9a, 0x57)})


class PlayMidi(Recipe):
    def test_leaves_no_output_for_what_is_not_midi(self):
        (self.dir / 'a.mid').write_text('no MIDI at all')
        self.assertIn('cannot render a.mid', self.run_recipe(
            'play-midi.sh', 'a.mid', 'a.wav', code=1))
        self.assertNothingLeft('a.mid')


class PianoRoll(Recipe):
    def test_draws_a_file_without_notes(self):
        import mido
        mido.MidiFile(tracks=[mido.MidiTrack()]).save(self.dir / 'empty.mid')
        self.run_recipe('piano-roll.py', 'empty.mid', 'empty.png')

    def test_says_what_it_cannot_write(self):
        import mido
        mido.MidiFile(tracks=[mido.MidiTrack()]).save(self.dir / 'empty.mid')
        for name in ('a.foo', 'none/a.png'):
            with self.subTest(name):
                self.assertIn(
                    f'piano-roll.py: cannot write {name}', self.run_recipe(
                        'piano-roll.py', 'empty.mid', name, code=1))

    def test_says_what_it_cannot_read(self):
        (self.dir / 'a.mid').write_text('no MIDI at all')
        self.assertIn('cannot read a.mid', self.run_recipe(
            'piano-roll.py', 'a.mid', 'a.png', code=1))


if __name__ == '__main__':
    unittest.main()
